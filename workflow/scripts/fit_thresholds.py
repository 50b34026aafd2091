"""Entry point of rule fit_thresholds; Snakemake provides `snakemake`."""

from deepssim.choices import MetricName
from deepssim.jobs import job
from deepssim.stages import fit_thresholds

with job(snakemake) as run:
    fit_thresholds(**run.files, metric=MetricName(snakemake.wildcards.metric))
