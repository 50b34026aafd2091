"""Entry point of rule plot_summary; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import plot_summary

with job(snakemake) as run:
    plot_summary(**run.files)
