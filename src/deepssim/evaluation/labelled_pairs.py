"""Evaluate metrics on labelled pairs with intervals by subject: macro-F1, ranking statistics, differences between metrics.

Not here: statistics per class and copy rates (classification.py), choosing the pairs (ground_truth/pairs.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from deepssim.evaluation.fitting import fit_thresholds
from deepssim.evaluation.intervals import Interval, bootstrap_weights, widened_percentiles
from deepssim.evaluation.jackknife import difference_interval, jackknife_interval, leave_one_out
from deepssim.evaluation.ranking import ranking_samples
from deepssim.ground_truth.labels import LABELS_BY_SCORE, Label, Thresholds, absent_classes
from deepssim.seeds import numpy_generator

_CLASSES = len(Label)
_RECALL = 0.95
_LEAST_MISSED = 5  # duplicates below the recall; fewer put the limit anywhere


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Intervals by subject: their confidence, number of bootstrap samples where they are used, and seed."""

    confidence: float = 0.95
    repetitions: int = 1000
    seed: int = 0


def macro_f1(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute macro-F1 of B weighted samples over the classes present in each.

    Args:
        labels, predicted: int (N,), codes of `Label`.
        weights: numeric (B, N), multiplicity of each pair in a sample.

    Returns:
        float64 (B,); NaN for an empty sample.
    """
    cell = labels * _CLASSES + predicted
    cells = (cell[:, None] == np.arange(_CLASSES**2)).astype(np.float64)
    confusion = (weights.astype(np.float64) @ cells).reshape(-1, _CLASSES, _CLASSES)
    hits = np.einsum("bii->bi", confusion)
    support = confusion.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * hits / (support + confusion.sum(axis=1))
        return np.where(support > 0, f1, 0).sum(axis=1) / (support > 0).sum(axis=1)


def fitted_classes(
    scores: np.ndarray, labels: np.ndarray, subjects: Sequence[str], seed: int
) -> tuple[np.ndarray, list[Thresholds]]:
    """Classify the pairs of each half of the subjects with thresholds fitted on the other half.

    Args:
        scores: float64 (N,).
        labels: int (N,), codes of `Label`.
        subjects: subject of each pair.
        seed: the config's seed, for the division into halves.

    Returns:
        Codes of `Label`, int64 (N,), and the thresholds of both halves; both empty if a half cannot be fitted, that is, if
        it has fewer than two classes or two distinct scores.
    """
    names = sorted(set(subjects))
    numpy_generator(seed, "threshold halves").shuffle(names)
    first = set(names[: len(names) // 2])
    half = np.array([subject in first for subject in subjects])
    if any(len(np.unique(values[side])) < 2 for values in (scores, labels) for side in (half, ~half)):
        return np.zeros(0, np.int64), []
    predicted, fitted = np.zeros(len(scores), np.int64), []
    for inside in (half, ~half):
        thresholds = fit_thresholds(scores[~inside], labels[~inside])
        predicted[inside] = thresholds.classify(scores[inside])
        fitted.append(thresholds)
    return predicted, fitted


def evaluate_labelled(
    scores: np.ndarray, labels: np.ndarray, subjects: Sequence[str], thresholds: Thresholds, sampling: Sampling
) -> dict[str, Any]:
    """Evaluate one metric on labelled pairs; every statistic has an interval.

    Args:
        scores: float64 (N,), higher is more similar.
        labels: int (N,), codes of `Label`.
        subjects: subject of the real image of each pair.
        thresholds: thresholds of the metric, which may be unknown.
        sampling: of the intervals.

    Returns:
        `macro_f1` by published and `macro_f1_fitted` by fitted thresholds; `auroc`, `auprc`, `precision_at_recall` and
        `fpr_at_recall` (at 95 % recall) of duplicates against all others; `fitted_thresholds`; `subjects`. NaN with the reason
        where a result is undefined: without pairs, thresholds, duplicates or others.
    """
    if not len(labels):
        return _nothing("there are no pairs")
    weights = _samples(subjects, sampling)
    fewest = _fewest(labels, subjects)
    duplicates = labels == Label.DUPLICATE
    fewest_sides = min(_people(subjects, duplicates), _people(subjects, ~duplicates))

    def interval(samples: np.ndarray, fewest: int) -> Interval:
        return jackknife_interval(float(samples[0]), samples[1:], fewest, sampling.confidence)

    curves = ranking_samples(scores, duplicates, weights)
    known, unknown = thresholds.known, Interval(float("nan"), float("nan"), float("nan"), "no thresholds")
    predicted, fitted = fitted_classes(scores, labels, subjects, sampling.seed)
    at_recall = _at_recall(scores, duplicates, subjects, sampling, fewest_sides)
    return {
        "macro_f1": interval(macro_f1(labels, thresholds.classify(scores), weights), fewest) if known else unknown,
        "macro_f1_fitted": interval(macro_f1(labels, predicted, weights), fewest) if fitted else None,
        "fitted_thresholds": [{"different_up_to": item.low, "duplicate_above": item.high} for item in fitted],
        "auroc": interval(curves["auroc"], fewest_sides),
        "auprc": interval(curves["auprc"], fewest_sides),
        "precision_at_recall": at_recall["precision"],
        "fpr_at_recall": at_recall["fpr"],
        "recall": _RECALL,
        "subjects": len(set(subjects)),
    }


def with_reasons(judged: dict[str, Any], undefined: Mapping[str, str]) -> dict[str, Any]:
    """Return the results of `evaluate_labelled` without those that are undefined, each with its reason as the method.

    Args:
        judged: of `evaluate_labelled`, which averages F1 over the classes present.
        undefined: reasons by name of the result, of `classification.pair_results`.
    """
    nan = float("nan")
    reasons = {name: Interval(nan, nan, nan, text) for name, text in undefined.items() if name in judged}
    return judged | reasons | ({"macro_f1_fitted": None} if "macro_f1" in reasons else {})


def _nothing(reason: str) -> dict[str, Any]:
    """Return the results of no pairs."""
    nan = float("nan")
    names = ("macro_f1", "auroc", "auprc", "precision_at_recall", "fpr_at_recall")
    empty = {name: Interval(nan, nan, nan, reason) for name in names}
    return {**empty, "macro_f1_fitted": None, "fitted_thresholds": [], "recall": _RECALL, "subjects": 0}


def _samples(subjects: Sequence[str], sampling: Sampling) -> np.ndarray:
    """Return weights of all pairs, then of all without each subject in turn."""
    left_out = leave_one_out(subjects, sampling.seed)
    return np.vstack([np.ones(len(subjects), left_out.dtype), left_out])


def _people(subjects: Sequence[str], chosen: np.ndarray) -> int:
    return len({subject for subject, one in zip(subjects, chosen, strict=True) if one})


def _fewest(labels: np.ndarray, subjects: Sequence[str]) -> int:
    """Return the number of subjects with pairs of the class that fewest have, of the classes that occur."""
    return min(_people(subjects, labels == label) for label in np.unique(labels))


def _at_recall(
    scores: np.ndarray, duplicates: np.ndarray, subjects: Sequence[str], sampling: Sampling, fewest: int
) -> dict[str, Interval]:
    """Return precision and false-positive rate at the recall.

    They depend on the few duplicates with the lowest scores. The jackknife alone is too narrow for that, so the interval is
    united with the percentiles of bootstrap samples, widened for few subjects (Hesterberg 2015,
    doi:10.1080/00031305.2015.1089789); below 100 duplicates there is none.
    """
    weights = _samples(subjects, sampling)
    curves = ranking_samples(scores, duplicates, weights, recall=_RECALL)
    least = round(_LEAST_MISSED / (1 - _RECALL))
    nan, found = float("nan"), int(duplicates.sum())
    if found < least:
        reason = f"needs {least} duplicates, there are {found}"
        return {name: Interval(float(curves[name][0]), nan, nan, reason) for name in ("precision", "fpr")}
    drawn = bootstrap_weights(subjects, sampling.repetitions, sampling.seed, "labelled pairs")
    samples = ranking_samples(scores, duplicates, drawn, recall=_RECALL)
    intervals = {}
    for name in ("precision", "fpr"):
        plain = jackknife_interval(float(curves[name][0]), curves[name][1:], fewest, sampling.confidence)
        wide = widened_percentiles(samples[name], len(set(subjects)), fewest, sampling.confidence)
        ends = min(plain.low, wide[0]), max(plain.high, wide[1])
        intervals[name] = Interval(plain.value, *ends, plain.method) if np.isfinite(plain.low) else plain
    return intervals


def compare_metrics(
    scores: Mapping[str, np.ndarray],
    thresholds: Mapping[str, Thresholds],
    labels: np.ndarray,
    subjects: Sequence[str],
    sampling: Sampling,
) -> list[dict[str, Any]]:
    """Compare metrics pairwise on the same pairs, so that sampling variation common to both cancels.

    Args:
        scores: float64 (N,) by metric.
        thresholds: thresholds by metric, which may be unknown.
        labels, subjects, sampling: as for `evaluate_labelled`.

    Returns:
        For each pair of metrics: the difference (first minus second) of macro-F1 and of AUROC with intervals, and the
        fraction of pairs that both assign to the same class. NaN and None where a result is undefined: F1 needs pairs of all
        classes and the thresholds of both metrics, AUROC duplicates and others.
    """
    if not len(labels):
        return []
    weights = _samples(subjects, sampling)
    duplicates = labels == Label.DUPLICATE
    fewest = {
        "macro_f1": _fewest(labels, subjects),
        "auroc": min(_people(subjects, duplicates), _people(subjects, ~duplicates)),
    }
    classes = {name: thresholds[name].classify(values) for name, values in scores.items() if thresholds[name].known}
    complete, unknown = not absent_classes(labels), np.full(len(weights), np.nan)
    samples = {
        "macro_f1": {
            name: macro_f1(labels, classes[name], weights) if complete and name in classes else unknown
            for name in scores
        },
        "auroc": {name: ranking_samples(values, duplicates, weights)["auroc"] for name, values in scores.items()},
    }
    intervals = {
        statistic: {
            name: jackknife_interval(float(each[0]), each[1:], fewest[statistic], sampling.confidence)
            for name, each in by_metric.items()
        }
        for statistic, by_metric in samples.items()
    }
    return [
        {
            "first": first,
            "second": second,
            "agreement": float((classes[first] == classes[second]).mean()) if {first, second} <= set(classes) else None,
            **{
                f"{statistic}_difference": difference_interval(
                    intervals[statistic][first], intervals[statistic][second], each[first][1:], each[second][1:]
                )
                for statistic, each in samples.items()
            },
        }
        for first, second in combinations(scores, 2)
    ]


def agreement_matrix(classes: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the fraction of pairs that two metrics assign to the same class, metrics as rows and columns.

    Args:
        classes: codes of `Label` by metric, int (N,).
    """
    names = list(classes)
    if not names or not len(classes[names[0]]):
        return pd.DataFrame()
    agreement = [[float((classes[row] == classes[column]).mean()) for column in names] for row in names]
    return pd.DataFrame(agreement, index=names, columns=names)


def disagreements(
    pairs: pd.DataFrame, scores: Mapping[str, np.ndarray], classes: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return the pairs that metrics assign to different classes, largest disagreement first.

    Args:
        pairs: columns `real_key`, `synth_key`, `label`.
        scores: float64 (N,) by metric.
        classes: codes of `Label` by metric, int (N,).

    Returns:
        The columns of `pairs`, then score and class by each metric.
    """
    if not classes or not len(pairs):
        return pairs[["real_key", "synth_key", "label"]].head(0)
    rank = np.array([LABELS_BY_SCORE.index(label) for label in Label])
    ranks = np.stack([rank[values] for values in classes.values()])
    apart = ranks.max(axis=0) - ranks.min(axis=0)
    rows = np.flatnonzero(apart)
    rows = rows[np.argsort(-apart[rows], kind="stable")]
    table = pairs[["real_key", "synth_key", "label"]].iloc[rows].reset_index(drop=True)
    for name in classes:
        table[name] = scores[name][rows]
        table[f"{name}_class"] = [Label(int(code)).name.lower() for code in classes[name][rows]]
    return table
