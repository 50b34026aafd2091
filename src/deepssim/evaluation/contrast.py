"""Difference and ratio of two rates of independent items, such as the rates of copied training and held-out subjects.

Not here: rates of items that come in groups (groups.py), differences of other statistics (jackknife.py).
"""

from deepssim.evaluation.intervals import Interval, clopper_pearson
from deepssim.evaluation.jackknife import mover_difference


def rate_difference(count: int, total: int, other_count: int, other_total: int, confidence: float = 0.95) -> Interval:
    """Return count / total - other_count / other_total.

    Args:
        count, total: items found and all items on the first side.
        other_count, other_total: on the second side.
        confidence: of the interval.

    Returns:
        -1 to 1, with the interval of MOVER from Clopper-Pearson's intervals of both rates, which covers at least as
        often as it states. NaN where a side is empty.

    Source: Zou and Donner 2008, doi:10.1002/sim.3095; with Clopper-Pearson's ends it is a conservative form of
    Newcombe's method 10 (1998).
    """
    if not total or not other_total:
        return Interval(float("nan"), -1.0, 1.0, "nothing to count")
    ends = (clopper_pearson(count, total, confidence), clopper_pearson(other_count, other_total, confidence))
    first, second = (
        Interval(found / every, *limits, "Clopper-Pearson")
        for (found, every), limits in zip(((count, total), (other_count, other_total)), ends, strict=True)
    )
    low, high = mover_difference(first, second)
    return Interval(first.value - second.value, low, high, "MOVER of Clopper-Pearson")


def rate_ratio(count: int, total: int, other_count: int, other_total: int, confidence: float = 0.95) -> Interval:
    """Return (count / total) / (other_count / other_total).

    Given the sum of both counts, and if the counts are Poisson, the first is binomial with a probability p for which
    ratio = p / (1 - p) * other_total / total; Clopper-Pearson's interval of p gives that of the ratio. Counts of items
    vary less than Poisson ones, so that the interval covers at least as often as it states.

    Args:
        count, total: items found and all items on the first side.
        other_count, other_total: on the second side.
        confidence: of the interval.

    Returns:
        0 to infinity; the value is infinite where nothing was found on the second side only, NaN where nothing was
        found.

    Source: Przyborowski and Wilenski 1940, doi:10.1093/biomet/31.3-4.313.
    """
    nan, inf = float("nan"), float("inf")
    if not total or not other_total or not count + other_count:
        return Interval(nan, 0.0, inf, "nothing was found on either side")
    low, high = clopper_pearson(count, count + other_count, confidence)
    scale = other_total / total

    def odds(probability: float) -> float:
        return inf if probability >= 1 else probability / (1 - probability) * scale

    value = count / other_count * scale if other_count else inf
    method = "exact, given the sum of both counts"
    if not other_count:
        method += "; no upper end, since nothing was found on the second side"
    return Interval(value, odds(low), odds(high), method)
