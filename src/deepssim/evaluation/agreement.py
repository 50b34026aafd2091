"""How far several judgements of the same images agree: raters, or repetitions with other seeds.

Not here: who judged what (audit/readers.py, audit/stability.py), rates by subject (groups.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deepssim.evaluation.groups import rate_by_group
from deepssim.evaluation.intervals import Interval


def cohen_kappa(first: np.ndarray, second: np.ndarray, groups: Sequence[str], confidence: float = 0.95) -> Interval:
    """Return the agreement of two raters beyond chance, with an interval over groups.

    Args:
        first, second: what each called the N items, bool (N,).
        groups: of each item, such as the subject; the unit of the interval.
        confidence: of the interval.

    Returns:
        -1 to 1, with the number of items as `total`; NaN where both put all items into one class, for which kappa is not
        defined. No interval (NaN) where there is one group of several items.

    Source: Cohen 1960, doi:10.1177/001316446002000104, who takes the agreement by chance as fixed. The exact interval of the
    observed agreement is carried over, instead of his normal approximation, which fails near full agreement.
    """
    from sklearn.metrics import cohen_kappa_score  # a second to import

    nan, total = float("nan"), len(first)
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if not total:
        return Interval(nan, nan, nan, "nothing rated by both", None, 0)
    yes, other_yes = float(first.mean()), float(second.mean())
    by_chance = yes * other_yes + (1 - yes) * (1 - other_yes)
    if by_chance == 1:
        return Interval(nan, nan, nan, "all are in one class", None, total)
    agreed = rate_by_group(first == second, groups, confidence)
    low, high = ((end - by_chance) / (1 - by_chance) for end in (agreed.low, agreed.high))
    value = float(cohen_kappa_score(first, second))
    return Interval(value, max(-1.0, low) if np.isfinite(low) else nan, high, agreed.method, None, total)


def fleiss_kappa(calls: np.ndarray) -> float:
    """Return the agreement of several raters beyond chance.

    Args:
        calls: what each of R raters called each of N items, bool (N, R).

    Returns:
        -1 to 1; NaN for fewer than two raters, no items, or where all calls are the same.

    Source: Fleiss 1971, doi:10.1037/h0031619, for two categories.
    """
    items, raters = np.shape(calls)
    share = float(np.mean(calls)) if items and raters else 0.0
    if raters < 2 or not 0 < share < 1:
        return float("nan")
    yes = np.asarray(calls, np.int64).sum(axis=1)
    agreeing = (yes * (yes - 1) + (raters - yes) * (raters - yes - 1)) / (raters * (raters - 1))
    by_chance = share**2 + (1 - share) ** 2
    return float((agreeing.mean() - by_chance) / (1 - by_chance))


def weighted_share(
    found: np.ndarray,
    strata: Sequence[str],
    sizes: Mapping[str, int],
    chosen: str,
    groups: Sequence[str],
    confidence: float = 0.95,
) -> Interval:
    """Estimate, from a sample of every stratum, which share of all items with a property is in one of the strata.

    Args:
        found: whether each of N sampled items has the property, bool (N,).
        strata: stratum of each sampled item; items were drawn from each by simple random sampling.
        sizes: how many items each stratum has in all; every stratum with items is sampled.
        chosen: the stratum whose share is estimated.
        groups: of each sampled item, the unit of intervals.
        confidence: of the interval.

    Returns:
        0 to 1, NaN where no item has the property. Each stratum's rate has an interval at the level
        1 - (1 - confidence) / strata; all hold together with the confidence (Bonferroni), and so does the share
        computed from their ends. A stratum of which every item was sampled has no sampling error.
    """
    found, names = np.asarray(found, bool), np.asarray(strata, dtype=object).astype(str)
    owners = np.asarray(groups, dtype=object).astype(str)
    used = {name: size for name, size in sizes.items() if size}
    level = 1 - (1 - confidence) / max(1, len(used))
    rates = {}
    for name, size in used.items():
        inside = names == name
        if not inside.any():
            raise ValueError(f"stratum {name!r} has {size} items, but none was sampled")
        rate = rate_by_group(found[inside], list(owners[inside]), level)
        if inside.sum() == size:
            rate = replace(rate, low=rate.value, high=rate.value)
        elif not np.isfinite(rate.low):
            rate = replace(rate, low=0.0, high=1.0)
        rates[name] = rate

    def share(inside: float, outside: float) -> float:
        return inside / (inside + outside) if inside + outside > 0 else float("nan")

    def others(end: str) -> float:
        return sum(used[name] * getattr(rate, end) for name, rate in rates.items() if name != chosen)

    def own(end: str) -> float:
        return used.get(chosen, 0) * getattr(rates[chosen], end) if chosen in rates else 0.0

    value, low, high = (share(own(a), others(b)) for a, b in (("value", "value"), ("low", "high"), ("high", "low")))
    if not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"), "no item has the property", None, len(found))
    return Interval(
        value,
        low if np.isfinite(low) else 0.0,
        high if np.isfinite(high) else 1.0,
        "strata by Bonferroni",
        None,
        len(found),
    )
