"""Entry point of rule prepare_dataset; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import prepare_dataset

with job(snakemake) as run:
    prepare_dataset(**run.files, config=run.config, threads=run.threads)
