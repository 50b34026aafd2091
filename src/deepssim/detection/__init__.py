"""Find the real image that an image copies: candidates among all real images, then evidence for each, then one score."""
