"""Which images there are: sources, the image table, splits by subject, sampled pairs."""
