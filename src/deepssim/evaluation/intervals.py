"""How sure a share or a difference is: exact intervals of counts and bootstraps by subject.

Not here: items that come in groups (groups.py), statistics that are no rates (jackknife.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.seeds import numpy_generator

_LEAST_PERCENT = 0.001  # smaller rates are of no use to a reader


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


def widened_percentiles(
    samples: np.ndarray, subjects: int, fewest: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the percentiles of bootstrap samples, further apart where few subjects make them too narrow.

    Args:
        samples: float64 (B,); NaN is left out.
        subjects: that were drawn.
        fewest: subjects in the smallest class, whose number less one is the degrees of freedom.
        confidence: of the interval.

    Source: Hesterberg 2015, doi:10.1080/00031305.2015.1089789, expanded percentile interval.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    known = samples[np.isfinite(samples)]
    if not known.size or min(subjects, fewest) < 2:
        return float("nan"), float("nan")
    quantile = student.ppf((1 - confidence) / 2, fewest - 1) * np.sqrt(subjects / (subjects - 1))
    tail = 100 * float(norm.cdf(quantile))
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


def _require_share(count: int, total: int) -> None:
    if not 0 <= count <= total:
        raise ValueError(f"a share of {count} of {total} is none; the count must be 0 to the total")


def percent(share: float) -> str:
    """Return a share in per cent with as many digits as it needs."""
    value = 100 * share
    if 0 < value < _LEAST_PERCENT:
        return f"<{_LEAST_PERCENT:g} %"
    return f"{value:.0f} %" if value >= 99.95 or value == 0 else f"{value:.1f} %" if value >= 1 else f"{value:.2g} %"
