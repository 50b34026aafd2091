"""Entry point of rule embed; Snakemake provides `snakemake`."""

from deepssim.choices import MetricName
from deepssim.jobs import job
from deepssim.stages import embed

with job(snakemake) as run:
    embed(**run.files, metric=MetricName(snakemake.wildcards.metric), config=run.config)
