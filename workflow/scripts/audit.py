"""Entry point of rule audit; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import audit

OUTPUTS = snakemake.output.keys()

with job(snakemake) as run:
    files = {name: run.files[name] for name in OUTPUTS}  # inputs are named by the config
    audit(**files, cache=snakemake.params.cache, config=run.config, threads=run.threads)
