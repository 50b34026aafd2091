"""Entry point of rule verify_copies; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import verify_copies

with job(snakemake) as run:
    verify_copies(**run.files, config=run.config)
