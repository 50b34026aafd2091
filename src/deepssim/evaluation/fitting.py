"""Fit thresholds to labelled pairs, for scores that have no published ones.

Not here: published thresholds (metrics.py), choosing the labelled pairs (ground_truth/pairs.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError
from deepssim.ground_truth.labels import UNKNOWN, Label, Thresholds
from deepssim.runtime.json_files import write_json

PUBLISHED = "published"
_CANDIDATES = 400  # thresholds tried for each of the two


@dataclass(frozen=True)
class SourcedThresholds:
    """Thresholds with their source: published, the pairs they were fitted on, or why there are none."""

    thresholds: Thresholds
    source: str


def fit_thresholds(scores: np.ndarray, labels: np.ndarray) -> Thresholds:
    """Find the thresholds with the highest macro-F1.

    Args:
        scores: float64 (N,).
        labels: int (N,), codes of `Label`.

    Returns:
        Thresholds midway between scores of different classes; at most 400 candidates, equally spaced in rank, are tried for
        each. A threshold is at the lowest or highest score, so that it separates nothing, only if that gives a higher
        macro-F1, as where no pair is different. Ties are broken by the largest gap between the neighbouring scores.

    Raises:
        DataError: if there are fewer than two classes.
    """
    present = [label for label in Label if (labels == label).any()]
    if len(present) < 2:
        raise DataError(f"thresholds cannot be fitted on {len(scores)} pairs of {len(present)} class; label more pairs")
    values, places = np.unique(scores, return_inverse=True)
    if len(values) < 2:
        raise DataError(f"thresholds cannot be fitted on {len(scores)} pairs of one score {values[0]:g}")
    # The first and the last cut separate nothing: all scores lie above or below them.
    cuts = np.concatenate([[-1], _cuts(values, places, labels), [len(values) - 1]])
    # Number of pairs of each class up to each cut: (cuts, classes).
    below = np.stack(
        [np.cumsum(np.bincount(places[labels == c] + 1, minlength=len(values) + 1))[cuts + 1] for c in Label], axis=1
    )
    total = np.array([(labels == label).sum() for label in Label])
    above = total - below
    inside = below[None] - below[:, None]  # [low, high]
    f1 = {
        Label.DIFFERENT: _f1(below[:, Label.DIFFERENT], below.sum(1), total[Label.DIFFERENT])[:, None],
        Label.DUPLICATE: _f1(above[:, Label.DUPLICATE], above.sum(1), total[Label.DUPLICATE])[None, :],
        Label.SIMILAR: _f1(inside[..., Label.SIMILAR], inside.sum(2), total[Label.SIMILAR]),
    }
    mean = sum(np.broadcast_to(f1[label], inside.shape[:2]) for label in present) / len(present)
    mean = np.where(np.tri(len(cuts), k=-1, dtype=bool), -1.0, mean)  # excludes low above high
    best = np.argwhere(mean >= mean.max() - 1e-12)
    at_ends = np.isin(best, [0, len(cuts) - 1]).sum(axis=1)
    best = best[at_ends == at_ends.min()]
    middles, gaps = _between(values, cuts)
    low, high = best[np.argmax(gaps[best].min(axis=1))]
    return Thresholds(float(middles[low]), float(middles[high]))


def _between(values: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the threshold at each cut and the gap between the scores around it; at the ends the gap is infinite."""
    inner = cuts[1:-1]
    gaps = values[inner + 1] - values[inner]
    # Between neighbouring floats the middle rounds to one of them; the upper one would move a score to the other class.
    middles = np.minimum(values[inner] + gaps / 2, np.nextafter(values[inner + 1], -np.inf))
    lowest = np.nextafter(values[0], -np.inf)  # scores up to a threshold are below it
    return np.concatenate([[lowest], middles, [values[-1]]]), np.concatenate([[np.inf], gaps, [np.inf]])


def _cuts(values: np.ndarray, places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the indices of scores after which the class changes; a cut within a run of one class is never better."""
    kinds = np.zeros(len(values), np.int64)
    np.bitwise_or.at(kinds, places, 1 << labels)
    changes = (kinds[1:] != kinds[:-1]) | (kinds[1:] & (kinds[1:] - 1) != 0)
    cuts = np.flatnonzero(changes)
    if len(cuts) > _CANDIDATES:
        cuts = cuts[np.linspace(0, len(cuts) - 1, _CANDIDATES).astype(int)]
    return cuts


def _f1(hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    return 2 * hits / np.maximum(predicted + true, 1)


def thresholds_in(found: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds of a result; null stands for unknown ones.

    Args:
        found: with `different_up_to` and `duplicate_above`.

    Raises:
        KeyError, TypeError, ValueError: if there are no such numbers.
    """
    low, high = found["different_up_to"], found["duplicate_above"]
    return UNKNOWN if low is None and high is None else Thresholds(float(low), float(high))


def write_thresholds(path: str | Path, fitted: SourcedThresholds, metric: str) -> None:
    """Write fitted thresholds as JSON.

    Args:
        path: file to write; unknown thresholds become null.
        fitted: thresholds and their source.
        metric: name of the metric.
    """
    content = {
        "metric": metric,
        "different_up_to": fitted.thresholds.low,
        "duplicate_above": fitted.thresholds.high,
        "source": fitted.source,
    }
    write_json(path, content)


def read_thresholds(path: str | Path, metric: str) -> SourcedThresholds:
    """Read fitted thresholds.

    Args:
        path: file written by `write_thresholds`.
        metric: expected name of the metric.

    Raises:
        DataError: if the file cannot be read or belongs to another metric.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        found, source = content["metric"], content["source"]
        thresholds = thresholds_in(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: does not hold thresholds ({error!r}); rerun the step that fits them") from None
    if found != metric:
        raise DataError(f"{path}: holds thresholds of {found}, not {metric}; fit those of {metric}")
    return SourcedThresholds(thresholds, source)
