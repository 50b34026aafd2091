"""Statistics of images that come in groups, such as all images of a patient or all slices of a generated volume.

Images of one group are alike, so the group is the unit: every group counts once, however many images it has.

Not here: rates of independent items (intervals.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.evaluation.intervals import Interval, rule_of_three
from deepssim.seeds import numpy_generator

_LEAST_GROUPS = 2  # for an interval: one group says nothing about how groups differ
_FEW = 10  # groups
_PICKS = 50  # random choices of one image per group
_CONTROL_RANKS = (1, 3, 10)  # controls that copies exceed: few copies exceed all, many exceed most
LEAST_GROUPS = 20  # that calibrate a limit; fewer cannot promise a rate of false alarms of 5 %
_TAIL_FRACTION = 0.2  # fraction of the controls whose excesses fit the tail
_LEAST_TAIL = 10  # controls in the tail, below which no tail is fitted


Groups = Sequence[str] | np.ndarray
"""Groups of items: names, or numbers in the order of the names."""

Shapes = list[tuple[float, float]]
"""Shapes a and b of beta distributions."""


@dataclass(frozen=True)
class Limit:
    """A limit that a new image of a new group exceeds with at most a promised probability.

    Attributes:
        value: the limit.
        promised: probability of a false alarm, 0 to 1.
        groups: how many groups it was calibrated on.
        exceeding: how many of them exceed it, each counted by the fraction of its images.
        images, images_exceeding: how many images it was calibrated on, and how many of them exceed it.
        independent_images: how many independent images tell as much about the rate above the limit.
    """

    value: float
    promised: float
    groups: int
    exceeding: float
    images: int = 0
    images_exceeding: int = 0
    independent_images: float = 0.0


def group_codes(groups: Groups) -> tuple[np.ndarray, int]:
    """Return the number of each item's group, int64 (N,), and how many groups there are."""
    whole = isinstance(groups, np.ndarray) and np.issubdtype(groups.dtype, np.integer)  # no slow change into text
    names, codes = np.unique(groups if whole else _as_bytes(groups), return_inverse=True)
    return codes.astype(np.int64), len(names)


def _as_bytes(names: Groups) -> np.ndarray:
    """Return names in UTF-8, which sorts as text does and takes a quarter of the memory."""

    def encoded() -> Iterator[bytes]:
        return (str(name).encode("utf-8", "surrogatepass") for name in names)

    width = max(map(len, encoded()), default=0)
    return np.fromiter(encoded(), f"S{max(1, width)}", len(names))


@dataclass(frozen=True)
class GroupCounts:
    """Items of each of G groups, in the order of the groups' names, on which sums of floating point numbers depend.

    Attributes:
        hits: int64 (G,), items found.
        totals: int64 (G,), all items, at least one.
    """

    hits: np.ndarray
    totals: np.ndarray

    @classmethod
    def of(cls, found: np.ndarray, groups: Groups) -> "GroupCounts":
        """Count items, bool (N,), by group."""
        codes, count = group_codes(groups)
        hits = np.bincount(codes[np.asarray(found, dtype=bool)], minlength=count)
        return cls(hits, np.bincount(codes, minlength=count))


def conformal_limit(scores: np.ndarray, groups: Groups, rate: float) -> Limit:
    """Calibrate a limit on groups of images that are exchangeable with the group of a new image.

    Args:
        scores: floating point (N,), of images that cannot be copies.
        groups: of each image.
        rate: false alarms that are allowed, 0 to 1.

    Returns:
        The limit. With G groups no more than 1 / (G + 1) can be promised.

    Source: hierarchical conformal prediction, Lee, Barber and Willett 2023, arXiv:2306.06342: each group has the mass
    1 / (G + 1), spread evenly over its images, and the new group the rest, at infinity.
    """
    codes, count = group_codes(groups)
    if not count:
        raise ValueError("a limit needs at least one group")
    order = np.argsort(scores, kind="stable")
    values = np.asarray(scores, dtype=np.float64)[order]
    mass = 1 / (np.bincount(codes)[codes[order]] * (count + 1.0))
    # Mass above each value; equal scores go together.
    above = mass.sum() - np.cumsum(mass) + 1 / (count + 1.0)
    last_of_equal = np.append(values[1:] > values[:-1], True)
    allowed = np.flatnonzero(last_of_equal & (above <= rate + 1e-12))
    place = allowed[0] if len(allowed) else len(values) - 1
    exceeding = float(above[place]) * (count + 1) - 1
    beyond = np.asarray(scores, dtype=np.float64) > values[place]
    independent = effective_items(beyond, groups) if beyond.any() and count > 1 else float(count)
    return Limit(
        float(values[place]), max(rate, 1 / (count + 1)), count, max(0.0, exceeding),
        len(values), int(beyond.sum()), independent,
    )  # fmt: skip


def rate_by_group(found: np.ndarray, groups: Groups, confidence: float = 0.95) -> Interval:
    """Return the fraction of items found, with an interval for items that come in groups.

    Args:
        found: bool (N,).
        groups: of each item.
        confidence: of the interval.

    Returns:
        Clopper-Pearson's interval with the effective number of items where groups differ; where none or all were found,
        groups are counted; no interval where there is one group of several items.

    Source: Korn and Graubard 1998, Survey Methodology 24: effective sample size, adjusted by Student's t.
    """
    return rate_of_groups(GroupCounts.of(found, groups), confidence)


def rate_of_groups(counts: GroupCounts, confidence: float = 0.95) -> Interval:
    """Return the same as `rate_by_group` for items that are counted by group."""
    count, hits, total = len(counts.totals), int(counts.hits.sum()), int(counts.totals.sum())
    if total == 0:
        return Interval(float("nan"), 0.0, 1.0, "nothing to count", 0, 0)
    rate = hits / total
    if count < _LEAST_GROUPS and total > 1:
        return Interval(rate, float("nan"), float("nan"), "all are of one subject or volume", hits, total)
    if hits in (0, total):
        edge = rule_of_three(count, confidence)
        low, high = (0.0, edge) if hits == 0 else (1 - edge, 1.0)
        return Interval(rate, low, high, "rule of three over subjects", hits, total)
    tail = (1 - confidence) / 2
    lowest, highest = _beta_shapes(counts, confidence)
    low, high = min(_tail(shape, tail) for shape in lowest), max(_tail(shape, 1 - tail) for shape in highest)
    method = "Clopper-Pearson" if count == total else "Korn-Graubard by subject"
    return Interval(rate, low, high, method, hits, total)


def effective_items(found: np.ndarray, groups: Groups, confidence: float = 0.95) -> float:
    """Return how many independent items tell as much about a rate as items that come in groups.

    Args:
        found: bool (N,), some but not all true.
        groups: of each item, at least two.
        confidence: of the interval that the number is for.

    Returns:
        1 to N.

    Source: Korn and Graubard 1998, with the variance between groups and Student's t. Its degrees of freedom follow from the
    kurtosis (Satterthwaite 1946, doi:10.2307/3002019): where few groups have most of the items found, the variance is as
    uncertain as if there were few groups.
    """
    return _effective_items(GroupCounts.of(found, groups), confidence)


def _effective_items(counts: GroupCounts, confidence: float) -> float:
    from scipy.stats import t as student

    count, total = len(counts.totals), int(counts.totals.sum())
    rate = int(counts.hits.sum()) / total
    residuals = counts.hits - rate * counts.totals
    variance = count / (count - 1) * np.square(residuals).sum() / total**2
    independent = rate * (1 - rate) / variance if variance > 0 else float(total)
    squares = np.square(residuals)
    kurtosis = count * np.square(squares).sum() / max(float(squares.sum()) ** 2, 1e-300)
    freedom = float(np.clip(2 * count / max(kurtosis - 1, 1e-9), 1, count - 1))
    tail = (1 - confidence) / 2
    return float(np.clip(independent * (student.ppf(tail, total - 1) / student.ppf(tail, freedom)) ** 2, 1.0, total))


def beta_shapes(found: np.ndarray, groups: Groups, confidence: float = 0.95) -> tuple[Shapes, Shapes]:
    """Return the beta distributions whose tails are the lower and the upper end of a rate's interval.

    Args:
        found: bool (N,), at least one.
        groups: of each item.
        confidence: of the interval.

    Returns:
        Two lists of shapes (a, b). The lower end is the lowest lower tail of the first, the upper end the highest upper tail
        of the second; a or b of 0 stands for the rates 0 and 1.
    """
    return _beta_shapes(GroupCounts.of(found, groups), confidence)


def _beta_shapes(counts: GroupCounts, confidence: float) -> tuple[Shapes, Shapes]:
    count, total = len(counts.totals), int(counts.totals.sum())
    rate, items = int(counts.hits.sum()) / total, float(count)
    with_hits, without = int((counts.hits > 0).sum()), int((counts.hits < counts.totals).sum())
    if 0 < rate < 1 and count > 1:
        items = float(total) if count == total else _effective_items(counts, confidence)
    lowest = [(rate * items, (1 - rate) * items + 1)]
    highest = [(rate * items + 1, (1 - rate) * items)]
    if 0 < rate < 1 and count < total:  # a few groups do not say how much groups differ
        if with_hits < _FEW:  # the rate is at most that of groups with any hit
            highest.append((with_hits + 1.0, float(count - with_hits)))
        if without < _FEW:
            lowest.append((float(count - without), without + 1.0))
    return lowest, highest


def _tail(shape: tuple[float, float], probability: float) -> float:
    from scipy.stats import beta

    return 0.0 if shape[0] <= 0 else 1.0 if shape[1] <= 0 else float(beta.ppf(probability, *shape))


def excess_probability(
    scores: np.ndarray, groups: Groups, controls: np.ndarray, control_groups: Groups, seed: int
) -> float:
    """Return the probability that so many synthetic images score above the best controls by chance.

    One image of every group is drawn. If none is a copy, these images are exchangeable, and how many synthetic ones exceed
    the r-th best control is beta-binomial, whatever the distribution of scores. Three ranks r are tried and corrected for
    (Bonferroni); draws are repeated and averaged, twice the average being a valid p-value.

    Args:
        scores, groups: of the synthetic images, floating point (S,).
        controls, control_groups: of images that cannot be copies, floating point (H,).
        seed: of the draws.

    Source: Rueschendorf 1982, doi:10.2307/3213629, for the average of p-values.
    """
    from scipy.stats import betabinom

    random = numpy_generator(seed, "excess by groups")
    synthetic, held_out = (
        (np.asarray(values, np.float64), *group_codes(names))
        for values, names in ((scores, groups), (controls, control_groups))
    )
    if not synthetic[2] or not held_out[2]:
        return 1.0
    ranks = [rank for rank in _CONTROL_RANKS if rank <= held_out[2]]
    lowest = np.empty(_PICKS)
    for pick in range(_PICKS):
        drawn, best = _one_of_each(*synthetic, random), -np.sort(-_one_of_each(*held_out, random))
        tails = [
            betabinom.sf((drawn > best[rank - 1]).sum() - 1, synthetic[2], rank, held_out[2] + 1 - rank)
            for rank in ranks
        ]
        lowest[pick] = min(1.0, len(ranks) * min(tails))
    if synthetic[2] == len(scores) and held_out[2] == len(controls):
        return float(lowest[0])  # every draw is the same
    return float(min(1.0, 2 * lowest.mean()))


def _one_of_each(values: np.ndarray, codes: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    if count == len(values):
        return values
    order = random.permutation(len(values))
    first = np.full(count, -1)
    first[codes[order][::-1]] = order[::-1]
    return values[first]


def tail_limit(values: np.ndarray, groups: Groups, tried: int, error: float) -> float:
    """Extrapolate the highest value that images of other groups reach when many are tried.

    The maxima of groups beyond a high quantile are taken to follow an exponential distribution. Its scale is taken at the upper
    end of its one-sided 95 % interval, so that few groups give a higher limit.

    Args:
        values: float (N,), of images that cannot be copies, on a scale on which their tail is about exponential; NaN where it is
            not known, which counts as low.
        groups: of each image.
        tried: how many further images are compared with the limit.
        error: probability that any of them exceeds it by chance.

    Returns:
        The limit; infinity where fewer than 20 groups allow no extrapolation.

    Source: peaks over threshold with a shape of 0, Coles 2001, doi:10.1007/978-1-4471-3675-0, chapter 4.
    """
    from scipy.stats import chi2

    codes, count = group_codes(groups)
    size = max(_LEAST_TAIL, int(np.ceil(_TAIL_FRACTION * count)))
    best = np.full(count, -np.inf)
    known = np.isfinite(values)
    np.maximum.at(best, codes[known], np.asarray(values, np.float64)[known])
    if count < LEAST_GROUPS or np.isfinite(best).sum() <= size:
        return float("inf")
    ordered = np.sort(best)
    start = ordered[-size - 1]
    excess = float((ordered[-size:] - start).mean())
    most = 2 * size * excess / chi2.ppf(0.05, 2 * size)
    return float(start + most * np.log(max(1.0, size / count * tried / error)))
