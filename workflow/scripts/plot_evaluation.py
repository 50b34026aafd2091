"""Entry point of rule plot_evaluation; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import plot_evaluation

with job(snakemake) as run:
    plot_evaluation(**run.files)
