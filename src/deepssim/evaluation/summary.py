"""Summary table of the main results of all metrics.

Not here: computing the results (classification.py).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepssim.config.choices import MetricName
from deepssim.errors import DataError
from deepssim.evaluation.verdict import unverified
from deepssim.runtime.json_files import as_json

SUMMARY_COLUMNS = ("metric", "images", "macro_f1", "weighted_f1")
_RESULTS = {
    "macro_f1": "macro-F1", "auroc": "AUROC", "auprc": "AUPRC", "copies": "copy rate", "precision_at_recall": "precision at recall",
}  # fmt: skip
_SHARES = ("share_of_synthetic_that_copy", "share_of_training_copied")


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
    """Read what `verify_copies` found: copy rates that include flipped, rotated and shifted copies, controls, the verdict.

    Raises:
        DataError: if the file is missing or holds no copy rates or no verdict.
    """
    result = _read_json(path)
    if "synthetic_copies" not in result.get("copies", {}):
        raise DataError(f"{path}: holds no copy rates; rerun the step that writes this file")
    if "sentence" not in result.get("verdict", {}):
        raise DataError(
            f"{path}: was written by an earlier version and holds no verdict; rerun the step that writes this file"
        )
    return result


def verdict_of(registered: Mapping[str, Any] | None, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict as plain values: `verdict`, `sentence`, `reservations`.

    Args:
        registered: of `read_registered_copies`; None where no image was registered.
        truth: evaluation of exact SSIM on aligned images.
    """
    return dict(registered["verdict"]) if registered else as_json(unverified(truth["copies"]))


def not_evaluated(evaluations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what could not be evaluated, and why: one sentence for each reason.

    Args:
        evaluations: results of `evaluate`.
    """
    by_reason: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for item in evaluations:
        reasons = item.get("undefined", {})
        for name in (name for name in _RESULTS if name in reasons):
            results, metrics = by_reason.setdefault(reasons[name], ({}, {}))
            results[_RESULTS[name]] = None
            metrics[item["metric"]] = None
    return [
        f"{', '.join(results)} of {', '.join(metrics)}: {reason}." for reason, (results, metrics) in by_reason.items()
    ]


def planted_note(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """Say that metrics were tested on planted copies; empty if none was.

    Args:
        evaluations: results of `evaluate`.
    """
    planted = [item["planted"] for item in evaluations if item.get("planted")]
    if not planted:
        return ""
    text = (
        f"Metrics were also tested on {planted[0]['planted_pairs']} planted images, {planted[0]['planted_copies']} of them in place of "
        "duplicates: training images of the test subjects that were changed mildly or deformed. The model did not generate them; "
        "such results are marked as planted."
    )
    fitted = dict.fromkeys(item["metric"] for item in evaluations if "planted" in item["thresholds"]["source"])
    return f"{text} The thresholds of {', '.join(fitted)} were fitted with planted images." if fitted else text


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); rerun the step that writes it") from None
    return result if isinstance(result, dict) else {}


def summary_table(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per evaluation: `SUMMARY_COLUMNS`, F1 of each class, thresholds, silhouette, error, copy rates.

    Undefined results are empty.
    """
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
            "macro_f1_planted": (item.get("planted") or {}).get("macro_f1"),
            **{name: (item["copies"] or {}).get(name) for name in _SHARES},
        }
        for item in evaluations
    )


def headline(results: str | Path) -> str:
    """Return the verdict of a run, the paths of its main results and its main numbers, as text.

    Copies are counted by exact SSIM, which defines a duplicate; F1 measures how well DeepSSIM reproduces it.

    Raises:
        DataError: if the run is not complete.
    """
    folder = Path(results)
    truth = read_evaluation(folder / "eval" / f"{MetricName.SSIM}.json")
    aligned, misaligned = (
        read_evaluation(folder / "eval" / f"{MetricName.DEEPSSIM}{kind}.json") for kind in ("", "_misaligned")
    )
    copies, path = truth["copies"], folder / "eval" / "registered_copies.json"
    found = read_registered_copies(path) if path.exists() else None  # `verification.candidates: 0` skips it
    registered = []
    if found:
        rate = _fraction(found["copies"], "synthetic_copies", "synthetic_images")
        registered = [f"  with flipped, rotated and shifted copies     {rate}"]
    verdict, both = verdict_of(found, truth), [aligned, misaligned]
    lines = [
        verdict["sentence"],
        *(f"Not evaluated: {sentence}" for sentence in not_evaluated(both)),
        *filter(None, [planted_note(both)]),
        "",
        f"report     {folder / 'report' / 'index.html'}",
        f"histogram  {folder / 'plots' / 'deepssim.png'}",
        f"F1 table   {folder / 'eval' / 'summary.csv'}",
        "",
        f"synthetic images that copy a training image  {_fraction(copies, 'synthetic_copies', 'synthetic_images')}",
        *registered,
        f"training images copied                       {_fraction(copies, 'training_copied', 'training_images')}",
        f"macro-F1 of DeepSSIM                         {_both_f1(aligned, misaligned)}",
    ]
    if aligned.get("planted"):
        planted = _both_f1(aligned["planted"], misaligned["planted"])
        lines.append(f"macro-F1 of DeepSSIM on planted copies       {planted}")
    return "\n".join(lines)


def _both_f1(aligned: Mapping[str, Any], misaligned: Mapping[str, Any]) -> str:
    return f"{f1_text(aligned)} (misaligned {f1_text(misaligned)}), {aligned['pairs']} test pairs"


def f1_text(result: Mapping[str, Any]) -> str:
    """Return macro-F1 of an evaluation as text.

    Args:
        result: with `macro_f1`, which is None where it is undefined.
    """
    return "undefined" if result["macro_f1"] is None else f"{result['macro_f1']:.3f}"


def _fraction(copies: dict[str, Any], part: str, whole: str) -> str:
    return f"{copies[part] / copies[whole]:.1%} ({copies[part]} of {copies[whole]})"
