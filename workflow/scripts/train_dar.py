"""Entry point of rule train_dar; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import train_dar

with job(snakemake) as run:
    train_dar(**run.files, config=run.config)
