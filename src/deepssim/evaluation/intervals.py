"""How sure a share or a difference is: exact intervals of counts, bootstraps by subject, what remains of false alarms.

Not here: what is counted (leakage.py, controls.py, labelled_pairs.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepssim.seeds import numpy_generator

_DRAWS = (
    20_000  # of rates in `groups.excess_rate`; their percentiles then move by less than a hundredth of the interval
)


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval.

    Attributes:
        value: the figure; NaN where there is nothing to compute it from.
        low, high: ends of the interval; equal to the figure's range where nothing is known.
        method: how the ends were found.
        count, total: what a share was counted from; None for other figures.
    """

    value: float
    low: float
    high: float
    method: str
    count: int | None = None
    total: int | None = None


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a rate; 0 to 1 where nothing was counted.

    Args:
        count, total: items found, and all items.
        confidence: of the interval.

    Source: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
    """
    from scipy.stats import binomtest  # half a second to import

    _require_share(count, total)
    if total == 0:
        return 0.0, 1.0
    found = binomtest(count, total).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def rule_of_three(total: int, confidence: float = 0.95) -> float:
    """Return the highest rate, with one-sided confidence, when none of `total` was found.

    It is exact; the well-known 3 / total is its limit for many at a confidence of 95 %.

    Args:
        total: items.
        confidence: of the bound.

    Source: Hanley and Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031.
    """
    return 1.0 if total == 0 else 1 - (1 - confidence) ** (1 / total)


def share_interval(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Return a rate of independent items: Clopper-Pearson, or the rule of three where none was found.

    Args:
        count, total: items found, and all items.
        confidence: of the interval.
    """
    _require_share(count, total)
    if total == 0:
        return Interval(float("nan"), 0.0, 1.0, "nothing to count", 0, 0)
    if count == 0:
        return Interval(0.0, 0.0, rule_of_three(total, confidence), "rule of three", 0, total)
    return Interval(count / total, *clopper_pearson(count, total, confidence), "Clopper-Pearson", count, total)


def bootstrap_weights(groups: Sequence[str], repetitions: int, seed: int, name: str) -> np.ndarray:
    """Draw subjects with replacement and say how often each item comes with its subject.

    Args:
        groups: subject of each of N items.
        repetitions: bootstrap samples B.
        seed: the config's seed.
        name: what for; the same name gives the same samples, so that figures can be compared in pairs.

    Returns:
        uint16 (B, N); every row is one sample.
    """
    names, group_of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return _draw(len(names), repetitions, seed, name)[:, group_of]


def _draw(subjects: int, repetitions: int, seed: int, name: str) -> np.ndarray:
    """Draw so many subjects with replacement and count each: uint16 (B, subjects)."""
    random = numpy_generator(seed, "bootstrap", name)
    counts = np.empty((repetitions, subjects), np.uint16)
    for sample in counts:
        sample[:] = np.bincount(random.integers(0, subjects, subjects), minlength=subjects)
    return counts


def percentile_interval(value: float, samples: np.ndarray, confidence: float = 0.95) -> Interval:
    """Return a statistic with the percentiles of its bootstrap samples.

    Args:
        value: of the statistic.
        samples: float64 (B,); NaN is left out.
        confidence: of the interval.
    """
    known = samples[np.isfinite(samples)]
    if not known.size or not np.isfinite(value):
        return Interval(float(value), float("nan"), float("nan"), "not enough subjects")
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high), "bootstrap by subject")


def share_with_missed(
    certain: int,
    flagged: int,
    total: int,
    alarms: tuple[float, float],
    found: tuple[int, int],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the share of copies when false alarms are subtracted and copies that are missed are added.

    Of what is not certain: (flagged - alarm rate) / (sensitivity - alarm rate).

    Args:
        certain: copies that can be no false alarm.
        flagged: further items that look like copies.
        total: all items.
        alarms: how many of how many items that cannot be copies were flagged.
        found: how many of how many hidden copies were flagged.
        confidence: of the interval.
        seed: of the draws from the rates' Jeffreys posteriors, whose percentiles are the interval.

    Source: Rogan and Gladen 1978, doi:10.1093/oxfordjournals.aje.a112510.
    """
    rest = total - certain
    if not total or not alarms[1] or not found[1] or found[0] / found[1] <= alarms[0] / alarms[1]:
        return Interval(float("nan"), 0.0, 1.0, "not known: controls do not tell copies from others", flagged, total)
    random = numpy_generator(seed, "missed", certain, flagged, total, *map(str, alarms), *found)
    sure, *rates = (
        random.beta(count + 0.5, of - count + 0.5, _DRAWS)
        for count, of in ((certain, total), (flagged, rest), alarms, found)
    )
    sure, hidden = sure * bool(certain), _corrected(*rates)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(sure + (1 - sure) * hidden, [tail, 100 - tail])
    share = float(_corrected(flagged / max(rest, 1), alarms[0] / alarms[1], found[0] / found[1]))
    value = (certain + rest * share) / total
    if certain + flagged == 0:  # as in `groups.excess_rate`
        high = max(float(high), share_interval(0, total, confidence).high)
    method = "false alarms subtracted, missed copies added"
    return Interval(value, min(float(low), value), max(float(high), value), method, certain + flagged, total)


def _corrected(rate: Any, alarm: Any, sensitivity: Any) -> Any:
    return np.clip((rate - alarm) / np.maximum(sensitivity - alarm, 1e-3), 0, 1)


def _require_share(count: int, total: int) -> None:
    if not 0 <= count <= total:
        raise ValueError(f"a share of {count} of {total} is none; the count must be 0 to the total")
