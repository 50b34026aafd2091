"""Entry point of rule compare_metrics; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import compare_metrics

with job(snakemake) as run:
    compare_metrics(**run.files, config=run.config)
