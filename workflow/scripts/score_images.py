"""Entry point of rule score_images; Snakemake provides `snakemake`."""

from deepssim.choices import MetricName
from deepssim.jobs import job
from deepssim.stages import score_images

with job(snakemake) as run:
    score_images(
        **run.files,
        metric=MetricName(snakemake.wildcards.metric),
        config=run.config,
        shard=int(snakemake.wildcards.shard),
        threads=run.threads,
    )
