"""The main figures of all metrics side by side.

Not here: computing them (classification.py).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepssim.config.choices import MetricName
from deepssim.errors import DataError

SUMMARY_COLUMNS = ("metric", "images", "macro_f1", "weighted_f1")


def read_evaluation(path: str | Path) -> dict[str, Any]:
    """Read the result of one evaluation.

    Raises:
        DataError: if the file is missing or no evaluation.
    """
    try:
        figures = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); evaluate the metric again") from None
    if not isinstance(figures, dict) or "macro_f1" not in figures:
        raise DataError(f"{path}: holds no evaluation; evaluate the metric again")
    return figures


def summary_table(figures: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per evaluation: `SUMMARY_COLUMNS`, F1 of each class, thresholds, silhouette, error, copy shares."""
    return pd.DataFrame(
        {
            "metric": item["metric"],
            "images": "misaligned" if item["misaligned"] else "aligned",
            "pairs": item["pairs"],
            "macro_f1": item["macro_f1"],
            "weighted_f1": item["weighted_f1"],
            **{f"f1_{name}": item["per_class"][name]["f1"] for name in item["classes"]},
            "silhouette": item["silhouette"],
            "different_up_to": item["thresholds"]["different_up_to"],
            "duplicate_above": item["thresholds"]["duplicate_above"],
            "thresholds": item["thresholds"]["source"],
            "mean_absolute_difference_to_ssim": item["mean_absolute_difference_to_ssim"],
            "share_of_synthetic_that_copy": item["copies"]["share_of_synthetic_that_copy"],
            "share_of_training_copied": item["copies"]["share_of_training_copied"],
        }
        for item in figures
    )


def headline(results: str | Path) -> str:
    """Say where a run's main results lie and what its three main numbers are.

    Copies are counted by exact SSIM, the definition of a duplicate, and F1 says how well DeepSSIM reproduces it.

    Raises:
        DataError: if the run is not complete.
    """
    folder = Path(results)
    truth = read_evaluation(folder / "eval" / f"{MetricName.SSIM}.json")
    aligned, misaligned = (
        read_evaluation(folder / "eval" / f"{MetricName.DEEPSSIM}{kind}.json") for kind in ("", "_misaligned")
    )
    copies = truth["copies"]
    lines = [
        f"report     {folder / 'report' / 'index.html'}",
        f"histogram  {folder / 'plots' / 'deepssim.png'}",
        f"F1 table   {folder / 'eval' / 'summary.csv'}",
        "",
        f"synthetic images that copy a training image  {_share(copies, 'synthetic_copies', 'synthetic_images')}",
        f"training images copied                       {_share(copies, 'training_copied', 'training_images')}",
        f"macro-F1 of DeepSSIM                         {aligned['macro_f1']:.3f} "
        f"(misaligned {misaligned['macro_f1']:.3f}), {aligned['pairs']} test pairs",
    ]
    return "\n".join(lines)


def _share(copies: dict[str, Any], part: str, whole: str) -> str:
    return f"{copies[part] / copies[whole]:.1%} ({copies[part]} of {copies[whole]})"
