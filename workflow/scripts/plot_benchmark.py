"""Entry point of rule plot_benchmark; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import plot_benchmark

with job(snakemake) as run:
    plot_benchmark(**run.files)
