"""Scores between real and synthetic images, and the matrices that hold them."""
