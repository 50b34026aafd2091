"""Entry point of rule sample_pairs; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import sample_pairs

with job(snakemake) as run:
    sample_pairs(**run.files, config=run.config)
