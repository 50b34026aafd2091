"""Entry point of rule train_ldm; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import train_ldm

with job(snakemake) as run:
    train_ldm(**run.files, config=run.config)
