"""One function per rule: open files, call the library, write files. Workflow scripts and the command line share them.

Every function takes file paths by the names that the rule gives them, and `config`, of which it reads no more than the
rule declares. What a stage needs is imported inside it: networks take ten seconds to import, and neither `deepssim --help`
nor a stage that only compares numbers should wait for them.
"""

from deepssim.stages.audit import audit
from deepssim.stages.comparison import (
    gather_matrix,
    sample_pairs,
    score_embeddings,
    score_images,
    score_pairs,
)
from deepssim.stages.encoders import embed, train_dar, train_deepssim
from deepssim.stages.evaluation import (
    evaluate,
    fit_thresholds,
    plot_benchmark,
    plot_copies,
    plot_metric,
    plot_summary,
    report,
    summarize,
)
from deepssim.stages.generation import (
    encode_latents,
    export_images,
    generate,
    misalign,
    prepare_dataset,
    train_ldm,
    train_vae,
)
from deepssim.stages.judging import compare_metrics, plot_evaluation
from deepssim.stages.verification import verify_copies

__all__ = [
    "audit",
    "compare_metrics",
    "embed",
    "encode_latents",
    "evaluate",
    "export_images",
    "fit_thresholds",
    "gather_matrix",
    "generate",
    "misalign",
    "plot_benchmark",
    "plot_copies",
    "plot_evaluation",
    "plot_metric",
    "plot_summary",
    "prepare_dataset",
    "report",
    "sample_pairs",
    "score_embeddings",
    "score_images",
    "score_pairs",
    "summarize",
    "train_dar",
    "train_deepssim",
    "train_ldm",
    "train_vae",
    "verify_copies",
]
