"""What runs around a computation: jobs, locks, GPUs, processes, devices, records, HDF5 and weight files."""
