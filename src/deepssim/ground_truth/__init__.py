"""What a duplicate is: thresholds of SSIM, labels, and the labelled pairs that train and test encoders."""
