"""What scores mean: labels, thresholds, F1 and copy rates."""
