"""Run the stage that has the rule's name; Snakemake provides `snakemake`."""

from deepssim.runtime.jobs import job
from deepssim.stages import run_stage

with job(snakemake) as run:
    run_stage(snakemake.rule, run.files, run.values)
