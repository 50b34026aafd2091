"""Entry point of rule report; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import report

with job(snakemake) as run:
    report(**run.files)
