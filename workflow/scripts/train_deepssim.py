"""Entry point of rule train_deepssim; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import train_deepssim

with job(snakemake) as run:
    train_deepssim(**run.files, config=run.config)
