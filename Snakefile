"""Does a generative model copy its training images? From real images to the report; see README.md and config/."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.19")


configfile: Path(workflow.basedir) / "config" / "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/vae.smk"
include: "workflow/rules/ldm.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/ground_truth.smk"
include: "workflow/rules/encoder.smk"
include: "workflow/rules/embeddings.smk"
include: "workflow/rules/matrices.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/plots.smk"
include: "workflow/rules/audit.smk" if IS_AUDIT else "workflow/rules/report.smk"


# Seconds each; on a cluster they run where Snakemake does.
localrules:
    all,
    summarize,
    plot_metric,
    plot_summary,
    plot_evaluation,
    plot_benchmark,
    report,


rule all:
    """Make everything."""
    default_target: True
    input:
        TARGETS,
