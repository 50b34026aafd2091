"""Entry point of rule export_images; Snakemake provides `snakemake`."""

from deepssim.jobs import job
from deepssim.stages import export_images

with job(snakemake) as run:
    export_images(**run.files)
