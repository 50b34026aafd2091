"""Summary table of the main results of all metrics.

Not here: computing the results (classification.py).
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
        DataError: if the file is missing or is not an evaluation result.
    """
    result = _read_json(path)
    if "macro_f1" not in result:
        raise DataError(f"{path}: is not an evaluation result; rerun the step that writes this file")
    return result


def read_registered_copies(path: str | Path) -> dict[str, Any]:
    """Read the copy rates that include flipped, rotated and shifted copies.

    Raises:
        DataError: if the file is missing or holds no copy rates.
    """
    result = _read_json(path)
    if "synthetic_copies" not in result.get("copies", {}):
        raise DataError(f"{path}: holds no copy rates; rerun the step that writes this file")
    return result["copies"]


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); rerun the step that writes it") from None
    return result if isinstance(result, dict) else {}


def summary_table(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per evaluation: `SUMMARY_COLUMNS`, F1 of each class, thresholds, silhouette, error, copy rates."""
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
        for item in evaluations
    )


def headline(results: str | Path) -> str:
    """Return the paths of a run's main results and its main numbers, as text.

    Copies are counted by exact SSIM, which defines a duplicate; F1 measures how well DeepSSIM reproduces it.

    Raises:
        DataError: if the run is not complete.
    """
    folder = Path(results)
    truth = read_evaluation(folder / "eval" / f"{MetricName.SSIM}.json")
    aligned, misaligned = (
        read_evaluation(folder / "eval" / f"{MetricName.DEEPSSIM}{kind}.json") for kind in ("", "_misaligned")
    )
    copies = truth["copies"]
    path, registered = folder / "eval" / "registered_copies.json", []
    if path.exists():  # `verification.candidates: 0` skips it
        rate = _fraction(read_registered_copies(path), "synthetic_copies", "synthetic_images")
        registered = [f"  with flipped, rotated and shifted copies     {rate}"]
    lines = [
        f"report     {folder / 'report' / 'index.html'}",
        f"histogram  {folder / 'plots' / 'deepssim.png'}",
        f"F1 table   {folder / 'eval' / 'summary.csv'}",
        "",
        f"synthetic images that copy a training image  {_fraction(copies, 'synthetic_copies', 'synthetic_images')}",
        *registered,
        f"training images copied                       {_fraction(copies, 'training_copied', 'training_images')}",
        f"macro-F1 of DeepSSIM                         {aligned['macro_f1']:.3f} "
        f"(misaligned {misaligned['macro_f1']:.3f}), {aligned['pairs']} test pairs",
    ]
    return "\n".join(lines)


def _fraction(copies: dict[str, Any], part: str, whole: str) -> str:
    return f"{copies[part] / copies[whole]:.1%} ({copies[part]} of {copies[whole]})"
