"""Infrastructure around the computations: jobs, locks, GPUs, processes, devices, provenance records, HDF5 and weight files."""
