"""The published code's commands, options and files (arXiv:2509.16582)."""
