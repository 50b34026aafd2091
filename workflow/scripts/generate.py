"""Entry point of rule generate; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import generate

with job(snakemake) as run:
    generate(**run.files, config=run.config, shard=int(snakemake.wildcards.shard))
