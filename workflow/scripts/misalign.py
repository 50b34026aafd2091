"""Entry point of rule misalign; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import misalign

with job(snakemake) as run:
    misalign(**run.files, config=run.config)
