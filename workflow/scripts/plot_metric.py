"""Entry point of rule plot_metric; Snakemake provides `snakemake`."""

from deepssim.choices import MetricName
from deepssim.jobs import job
from deepssim.stages import plot_metric

with job(snakemake) as run:
    plot_metric(**run.files, metric=MetricName(snakemake.wildcards.metric))
