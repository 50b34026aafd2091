"""Similarity scores between real and synthetic images, and the score matrices."""
