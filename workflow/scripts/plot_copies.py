"""Entry point of rule plot_copies; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import plot_copies

with job(snakemake) as run:
    plot_copies(**run.files)
