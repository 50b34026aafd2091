"""Rates by groups of people: the levels of a covariate, such as age or scanner, and the single subjects who are found most often.

The mean over all subjects hides that a few of them, or one group, carry most of what was found. The subject is the unit of every
interval here.

Not here: rates of items that come in groups (groups.py), differences of two rates (contrast.py).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from deepssim.evaluation.contrast import rate_difference
from deepssim.evaluation.groups import group_codes, rate_by_group
from deepssim.evaluation.intervals import Interval, share_interval

NOT_STATED = "not stated"
"""Level of items without a value."""

_POOL = "other values"  # begins the name of the level of values that are not levels of their own
_DIGITS = 12  # of numbers in names, which are sorted by size
_MOST_VALUES = 6  # distinct numbers that remain levels of their own
_QUANTILES = (0.25, 0.5, 0.75)  # of the subjects, at which numbers are cut
_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*Y?\s*")  # `045Y` is an age in DICOM


@dataclass(frozen=True)
class LevelRate:
    """What was found among the items of one level.

    Attributes:
        level: its name.
        subjects: fraction of the subjects with an item of this level of whom such an item was found.
        items: fraction of its items that were found, with an interval by subject.
        difference: of the first fraction from that of the subjects with items of other levels, at the corrected confidence; NaN
            where there is no other level.
    """

    level: str
    subjects: Interval
    items: Interval
    difference: Interval

    @property
    def differs(self) -> bool | None:
        """Whether the corrected interval of the difference lies on one side of 0; None where there is no difference."""
        if not np.isfinite(self.difference.value):
            return None
        return bool(self.difference.low > 0 or self.difference.high < 0)


def corrected_confidence(confidence: float, comparisons: int) -> float:
    """Return the confidence with which each of several intervals holds if all are to hold together (Bonferroni).

    Args:
        confidence: of all together, 0 to 1.
        comparisons: intervals, at least 1.
    """
    return 1 - (1 - confidence) / max(comparisons, 1)


def levels_of(values: Sequence[str], groups: Sequence[str], *, most: int, least_groups: int = 1) -> list[str]:
    """Return the level of each item: its value, or the range in which a number lies.

    Columns with more than six distinct numbers are cut at the quartiles of the subjects' medians, which depend on nothing that was
    found. Of other columns, the values of fewest subjects are pooled.

    Args:
        values: of N items, as text; empty where not known.
        groups: subject of each item.
        most: levels to keep, without `NOT_STATED`.
        least_groups: subjects that a level needs to be kept apart.

    Returns:
        Level of each item.
    """
    stripped = [value.strip() for value in values]
    known = [value for value in stripped if value]
    numbers = {value: _number(value) for value in set(known)}
    if len(numbers) > _MOST_VALUES and all(number is not None for number in numbers.values()):
        stripped = _ranges(stripped, {value: float(number or 0) for value, number in numbers.items()}, groups)
    return _pooled(stripped, groups, most, least_groups)


def sorted_levels(levels: Sequence[str]) -> list[str]:
    """Return the distinct levels in the order of a table: ranges and numbers by size, then names, pooled and missing values last."""

    def key(level: str) -> tuple[bool, bool, float, bool, list[str]]:
        start = re.match(r"(below )?(-?\d+(?:\.\d+)?)", level)
        number = float(start[2]) if start else np.inf
        parts = [part.zfill(_DIGITS) if part.isdigit() else part for part in re.split(r"(\d+)", level)]
        return level == NOT_STATED, level.startswith(_POOL), number, start is None or not start[1], parts

    return sorted(set(levels), key=key)


def rates_by_level(
    found: np.ndarray, groups: Sequence[str], levels: Sequence[str], *, confidence: float, comparisons: int
) -> list[LevelRate]:
    """Return what was found among the items of each level.

    A subject with items of several levels, such as images at two ages, counts in each; the interval of a difference takes the
    subjects of a level and of the others for independent, which is then conservative.

    Args:
        found: bool (N,).
        groups: subject of each item.
        levels: of each item.
        confidence: of the intervals of rates.
        comparisons: for how many differences the confidence of the differences is corrected.

    Returns:
        In the order of `sorted_levels`.
    """
    found, of = np.asarray(found, bool), np.asarray(levels, dtype=object).astype(str)
    codes, count = group_codes(groups)
    together = corrected_confidence(confidence, comparisons)
    rates = []
    for level in sorted_levels(levels):
        inside = of == level
        (hits, total), (other_hits, others) = (_subjects(found, codes, count, part) for part in (inside, ~inside))
        rates.append(
            LevelRate(
                level,
                share_interval(hits, total, confidence),
                rate_by_group(found[inside], codes[inside], confidence),
                rate_difference(hits, total, other_hits, others, together),
            )
        )
    return rates


def most_by_chance(counts: np.ndarray, sizes: np.ndarray) -> float:
    """Bound the probability that some subject would be found as often as the most frequent one if all were alike.

    Each find is taken to name an item drawn at random, independently of all others.

    Args:
        counts: how often each subject was found, int (G,).
        sizes: items of each subject, int (G,), at least 1.

    Returns:
        Sum over subjects of binomial tail probabilities, at most 1: the union bound of Bonferroni. 1 where nothing was found.
    """
    from scipy.stats import binom

    if not counts.sum():
        return 1.0
    return float(min(1.0, binom.sf(counts.max() - 1, counts.sum(), sizes / sizes.sum()).sum()))


def held_by_top(counts: np.ndarray, subjects: int) -> int:
    """Return how many of all finds are of the subjects who were found most often.

    Args:
        counts: how often each subject was found, int (G,).
        subjects: how many of them.
    """
    return int(np.sort(counts)[::-1][:subjects].sum())


def _subjects(found: np.ndarray, codes: np.ndarray, count: int, inside: np.ndarray) -> tuple[int, int]:
    """Return how many subjects have an item inside that was found, and how many have one at all."""
    hits, total = np.zeros(count, bool), np.zeros(count, bool)
    hits[codes[inside & found]], total[codes[inside]] = True, True
    return int(hits.sum()), int(total.sum())


def _number(value: str) -> float | None:
    match = _NUMBER.fullmatch(value)
    return float(match[1]) if match else None


def _ranges(values: Sequence[str], numbers: dict[str, float], groups: Sequence[str]) -> list[str]:
    """Return the range of each number between quartiles of the subjects' medians; empty where there is no number."""
    known = np.array([bool(value) for value in values])
    given = np.array([numbers[value] for value in values if value])
    whose = [group for group, there in zip(groups, known, strict=True) if there]
    cut = np.quantile(pd.Series(given).groupby(whose).median(), _QUANTILES)
    whole = bool((given == np.rint(given)).all())
    edges = np.unique(np.rint(cut) if whole else [float(f"{edge:.3g}") for edge in cut])
    edges = edges[(edges > given.min()) & (edges <= given.max())]
    if not len(edges):
        return list(values)
    between = [(low, high - 1 if whole else high) for low, high in pairwise(edges)]
    inner = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in between]
    names = [f"below {edges[0]:g}", *inner, f"{edges[-1]:g} or more"]
    return [names[np.searchsorted(edges, numbers[value], side="right")] if value else "" for value in values]


def _pooled(values: Sequence[str], groups: Sequence[str], most: int, least_groups: int) -> list[str]:
    """Name items without a value, and pool the values of fewest subjects."""
    people = Counter(value for value, _ in {*zip(values, groups, strict=True)} if value)
    order = sorted(people, key=lambda value: (-people[value], value))
    kept = [value for value in order[:most] if people[value] >= least_groups]
    pooled = len(order) - len(kept)
    if pooled == 1 and least_groups == 1:
        kept, pooled = order, 0  # a pool of one value would only hide its name
    name = f"{_POOL} ({pooled:,})"
    return [NOT_STATED if not value else value if value in set(kept) else name for value in values]
