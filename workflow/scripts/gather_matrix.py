"""Entry point of rule gather_matrix; Snakemake provides `snakemake`."""

from deepssim.choices import MetricName
from deepssim.jobs import job
from deepssim.stages import gather_matrix

with job(snakemake) as run:
    gather_matrix(**run.files, metric=MetricName(snakemake.wildcards.metric))
