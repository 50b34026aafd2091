"""One function per rule: open files, call the library, write files.

A function takes the rule's files by the names that the rule gives them, and by name what else it needs: wildcards, typed
settings, threads. Its module is imported when the stage runs, so that a job imports no more than it uses.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

MODULES = {
    "prepare_dataset": "dataset",
    "misalign": "misalignment",
    "train_vae": "vae",
    "encode_latents": "latents",
    "train_ldm": "ldm",
    "generate": "synthesis",
    "export_images": "export",
    "score_images": "matrices",
    "score_embeddings": "matrices",
    "score_pairs": "matrices",
    "gather_matrix": "matrices",
    "sample_pairs": "ground_truth",
    "train_deepssim": "encoders",
    "train_dar": "dar",
    "embed": "embeddings",
    "verify_copies": "verification",
    "fit_thresholds": "evaluation",
    "evaluate": "evaluation",
    "compare_metrics": "evaluation",
    "summarize": "evaluation",
    "plot_metric": "plots",
    "plot_benchmark": "plots",
    "plot_evaluation": "plots",
    "plot_summary": "plots",
    "plot_copies": "plots",
    "report": "report",
    "audit": "audit",
    "pack": "packs",
}


def stage_function(name: str) -> Callable[..., Any]:
    """Return the function of a stage, importing its module only."""
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)


def run_stage(name: str, files: Mapping[str, Any], available: Mapping[str, Any]) -> Any:
    """Call a stage with its files and with those of the other values that its signature names.

    Args:
        name: of the rule.
        files: all named inputs and outputs; the function must take each of them.
        available: wildcards, settings and threads by name.
    """
    function = stage_function(name)
    accepted = inspect.signature(function).parameters
    return function(**files, **{key: value for key, value in available.items() if key in accepted})
