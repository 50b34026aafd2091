"""Definition of a duplicate: SSIM thresholds, labels, and the labelled pairs that train and test encoders."""
