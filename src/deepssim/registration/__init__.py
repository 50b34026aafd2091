"""Bring one image onto another and measure how well it then fits."""
