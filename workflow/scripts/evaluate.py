"""Entry point of rule evaluate; Snakemake provides `snakemake`."""

from deepssim.choices import MetricName
from deepssim.jobs import job
from deepssim.stages import evaluate

with job(snakemake) as run:
    evaluate(
        **run.files,
        metric=MetricName(snakemake.wildcards.metric),
        misaligned=bool(snakemake.wildcards.variant),
        config=run.config,
        config_hash=snakemake.params.config_hash,
    )
