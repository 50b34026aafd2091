"""Entry point of rule score_embeddings; Snakemake provides `snakemake`."""

from deepssim.choices import MetricName
from deepssim.jobs import job
from deepssim.stages import score_embeddings

with job(snakemake) as run:
    score_embeddings(
        **run.files,
        metric=MetricName(snakemake.wildcards.metric),
        config=run.config,
        shard=int(snakemake.wildcards.shard),
        threads=run.threads,
    )
