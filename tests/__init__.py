import os

# Before NumPy and torch start their threads: for images and networks this small, waiting for each other takes longer.
os.environ.setdefault("OMP_NUM_THREADS", "1")
