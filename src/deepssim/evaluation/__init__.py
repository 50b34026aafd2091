"""Evaluation of scores: fitted thresholds, F1, ranking statistics, intervals and copy rates."""
