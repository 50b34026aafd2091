"""Memorization index: how far above those of held-out images the score of a synthetic image is, on a scale without units.

Not here: scores (audit/evidence.py), when an image is a copy (audit/calibration.py).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepssim.evaluation.groups import LEAST_GROUPS, Groups, group_codes
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.jackknife import jackknife_interval, parts_left_out

_NORMAL = 1.4826  # standard deviation of a normal distribution in units of its median absolute deviation
_REACH = 3.0  # standard deviations at which the index is tanh(1) = 0.76: what few unrelated images reach
_PERCENTILES = (5, 25, 50, 75, 95, 99)


def standardised_excess(scores: np.ndarray, null: np.ndarray, null_subjects: Sequence[str]) -> np.ndarray:
    """Return z = (score - median of the null) / (1.4826 * median absolute deviation of the null).

    Median and deviation are weighted so that each held-out subject counts once.

    Args:
        scores: float (S,), best score of each synthetic image with a training image.
        null: float (H,), best scores of held-out images with training images, found in the same way. Values that are
            not finite are left out.
        null_subjects: of the held-out images.

    Returns:
        float64 (S,), in standard deviations; NaN for all where the null has fewer than 20 subjects or no spread.

    Source: Deo et al. 2026, arXiv:2602.13066, there with mean and standard deviation of the null and features of an
    MRI model.
    """
    known = np.isfinite(null)
    codes, count = group_codes([name for name, kept in zip(null_subjects, known, strict=True) if kept])
    if count < LEAST_GROUPS:
        return np.full(len(scores), np.nan)
    values, weights = np.asarray(null, np.float64)[known], 1 / np.bincount(codes)[codes]
    centre = _median(values, weights)
    spread = _NORMAL * _median(np.abs(values - centre), weights)
    if spread <= 0:
        return np.full(len(scores), np.nan)
    return (np.asarray(scores, np.float64) - centre) / spread


def memorization_index(excess: np.ndarray) -> np.ndarray:
    """Return tanh(z / 3): about 0 for an image as similar to training images as held-out images are, 1 for a copy.

    It is monotone in the score. The source maps z by tanh(z); a third of z keeps unrelated images of skewed
    distributions from 1.

    Args:
        excess: z of `standardised_excess`, float64 (S,).

    Returns:
        float64 (S,), -1 to 1; NaN where z is not known.
    """
    return np.tanh(np.asarray(excess, np.float64) / _REACH)


def memorization_summary(
    index: np.ndarray, groups: Groups, null_index: np.ndarray, null_subjects: Sequence[str], *,
    confidence: float = 0.95, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Describe the distribution of the memorization index.

    Args:
        index: of the synthetic images, float64 (S,).
        groups: of these, slices of one generated volume together.
        null_index: of the held-out images, float64 (H,).
        null_subjects: of these.
        confidence: of the interval of the mean, which takes the null as given.
        seed: of the jackknife.

    Returns:
        `mean` with its interval; `null_mean`, each held-out subject counting once; `excess`, the difference of the
        two, which is about the fraction of copies; `percentiles` by name; or `reason` with None for the others, where
        the index is not known.
    """
    if not len(index) or not np.isfinite(index).all():
        reason = f"needs negative controls of {LEAST_GROUPS} subjects whose scores differ"
        return {"mean": None, "null_mean": None, "excess": None, "percentiles": None, "reason": reason}
    fraction, (parts, count) = (index + 1) / 2, parts_left_out(groups, seed)
    left_out, kept = np.empty(count), np.empty(count, np.int64)
    for part in range(count):  # all at once would take half a kilobyte for each image
        weights = (parts != part).astype(np.uint8)
        left_out[part], kept[part] = weights @ fraction, weights.sum()
    found = jackknife_interval(
        float(fraction.mean()), left_out / np.maximum(kept, 1), group_codes(groups)[1], confidence
    )
    mean = Interval(2 * found.value - 1, 2 * found.low - 1, 2 * found.high - 1, found.method)
    known = np.isfinite(null_index)
    codes, _ = group_codes([name for name, kept in zip(null_subjects, known, strict=True) if kept])
    null_mean = float(np.average(null_index[known], weights=1 / np.bincount(codes)[codes]))
    return {
        "mean": mean,
        "null_mean": null_mean,
        "excess": mean.value - null_mean,
        "percentiles": {str(at): float(np.percentile(index, at)) for at in _PERCENTILES},
        "reason": None,
    }


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted median: the mean of the two middle values where the weights leave half on each side."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    half = reached[-1] / 2
    low = int(np.searchsorted(reached, half * (1 - 1e-12)))
    high = min(int(np.searchsorted(reached, half * (1 + 1e-12), side="right")), len(values) - 1)
    return float((values[order][low] + values[order][high]) / 2)
