"""Entry point of rule summarize; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import summarize

with job(snakemake) as run:
    summarize(**run.files)
