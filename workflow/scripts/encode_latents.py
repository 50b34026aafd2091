"""Entry point of rule encode_latents; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import encode_latents

with job(snakemake) as run:
    encode_latents(**run.files, config=run.config)
