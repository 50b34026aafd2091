"""Entry point of rule train_vae; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import train_vae

with job(snakemake) as run:
    train_vae(**run.files, config=run.config)
