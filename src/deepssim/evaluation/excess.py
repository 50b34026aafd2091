"""The rate of copies when false alarms are subtracted and missed copies are added, with an interval that holds both errors.

Every rate that enters is uncertain: of its two ends, each is drawn from the beta distribution whose tail it is. The lower
end of the result subtracts as many false alarms as are likely, its upper end as few.

Not here: rates themselves (groups.py), when an image looks like a copy (audit/calibration.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from deepssim.evaluation.groups import Groups, Limit, Shapes, beta_shapes, group_codes, rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.seeds import numpy_generator

_DRAWS = 20_000  # their percentiles then move by less than a hundredth of the interval


@dataclass(frozen=True)
class AlarmRate:
    """How often an image that cannot be a copy looks like one.

    Attributes:
        value: the rate, 0 to 1.
        lowest, highest: beta distributions whose tails are the ends of its interval.
    """

    value: float
    lowest: Shapes
    highest: Shapes


def alarms_of_limit(limit: Limit) -> AlarmRate:
    """Return the rate at which a new image exceeds a calibrated limit.

    Over holdouts of single images it has a known distribution, Beta(k + 1, n - k) for k of n. With several images of a
    subject it is not lower than if the images were independent, and not higher than if they were equal.

    Args:
        limit: of `groups.conformal_limit`.
    """
    equal = (limit.exceeding + 1, limit.groups - limit.exceeding)
    lowest = [(limit.images_exceeding + 1.0, float(limit.images - limit.images_exceeding))]
    if limit.images > limit.groups:  # images that are alike say less about how much lower the rate may be
        rate, items = limit.images_exceeding / limit.images, limit.independent_images
        lowest.append((rate * items, (1 - rate) * items + 1))
    return AlarmRate((limit.exceeding + 0.5) / limit.groups, lowest, [equal])


def measured_alarms(alarms: np.ndarray, groups: Groups, confidence: float = 0.95) -> AlarmRate | None:
    """Return the rate of alarms of a fixed rule among images that cannot be copies; None where there are none.

    Args:
        alarms: bool (N,).
        groups: of each image.
        confidence: of the interval that the rate enters.
    """
    if not len(alarms):
        return None
    return AlarmRate(float(np.mean(alarms)), *beta_shapes(alarms, groups, confidence))


def excess_rate(
    flagged: np.ndarray, groups: Groups, alarms: AlarmRate | None, *, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return the rate of copies when false alarms are subtracted: (flagged - alarm rate) / (1 - alarm rate).

    Args:
        flagged: items that look like copies, bool (N,).
        groups: of each item.
        alarms: rate among items that cannot be copies; None subtracts nothing.
        confidence: of the interval.
        seed: of the draws from both rates' distributions, whose percentiles are the ends.

    Source: Rogan and Gladen 1978, doi:10.1093/oxfordjournals.aje.a112510, with a sensitivity of 1.
    """
    plain = rate_by_group(flagged, groups, confidence)
    hits, total = int(np.sum(flagged)), len(flagged)
    # Where nothing was flagged no false alarm can be subtracted, and an upper end below the rule of three would claim too much.
    if alarms is None or not hits or not np.isfinite(plain.low):
        return plain
    ends = _Ends(confidence, numpy_generator(seed, "excess", hits, total))
    low, high = ends.of(_corrected, beta_shapes(flagged, groups, confidence), (alarms.highest, alarms.lowest))
    value = float(_corrected(hits / total, alarms.value))
    return Interval(value, min(low, value), max(high, value), "false alarms subtracted", hits, total)


def rate_with_missed(
    certain: np.ndarray,
    flagged: np.ndarray,
    groups: Groups,
    alarms: AlarmRate | None,
    found: tuple[float, float],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the rate of copies when false alarms are subtracted and copies that are missed are added.

    Of what is not certain: (flagged - alarm rate) / (sensitivity - alarm rate).

    Args:
        certain: copies that can be no false alarm, bool (N,).
        flagged: items that look like copies, the certain ones included, bool (N,).
        groups: of each item.
        alarms: rate among items that cannot be copies.
        found: how many of how many independent hidden copies were found.
        confidence: of the interval.
        seed: of the draws from the rates' distributions, whose percentiles are the ends.

    Source: Rogan and Gladen 1978, doi:10.1093/oxfordjournals.aje.a112510.
    """
    certain, flagged = np.asarray(certain, bool), np.asarray(flagged, bool)
    hits, total = int(flagged.sum()), len(flagged)
    if not total or alarms is None or not found[1] or found[0] / found[1] <= alarms.value:
        return Interval(float("nan"), 0.0, 1.0, "not known: controls do not tell copies from others", hits, total)
    plain, rest = rate_by_group(flagged, groups, confidence), flagged[~certain]
    share = float(_corrected(rest.mean(), alarms.value, found[0] / found[1])) if len(rest) else 0.0
    value = float((certain.sum() + len(rest) * share) / total)
    if not np.isfinite(plain.low):
        return Interval(value, plain.low, plain.high, plain.method, hits, total)
    others = group_codes(groups)[0][~certain]
    sensitivity = [(found[0] + 0.5, found[1] - found[0] + 0.5)]
    none: tuple[Shapes, Shapes] = ([(0.0, 1.0)], [(0.0, 1.0)])
    ends = _Ends(confidence, numpy_generator(seed, "missed", hits, total))
    low, high = ends.of(
        lambda sure, hidden, alarm, seen: sure + (1 - sure) * _corrected(hidden, alarm, seen),
        beta_shapes(certain, groups, confidence) if certain.any() else none,
        beta_shapes(rest, others, confidence) if len(others) else none,
        (alarms.highest, alarms.lowest),
        (sensitivity, sensitivity),
    )
    if not hits:  # as in `excess_rate`
        high = max(high, plain.high)
    method = "false alarms subtracted, missed copies added"
    return Interval(value, min(low, value), max(high, value), method, hits, total)


class _Ends:
    """Percentiles of a function of several uncertain rates."""

    def __init__(self, confidence: float, random: np.random.Generator) -> None:
        self._tail, self._random = 100 * (1 - confidence) / 2, random

    def of(self, function: Callable[..., Any], *rates: tuple[Shapes, Shapes]) -> tuple[float, float]:
        """Return both ends; each rate comes with the distributions for the lower and for the upper end of the result."""
        lows = [self._percentile(function, chosen, self._tail) for chosen in product(*(rate[0] for rate in rates))]
        highs = [
            self._percentile(function, chosen, 100 - self._tail) for chosen in product(*(rate[1] for rate in rates))
        ]
        return min(lows), max(highs)

    def _percentile(self, function: Callable[..., Any], chosen: Sequence[tuple[float, float]], at: float) -> float:
        return float(np.percentile(function(*(self._draw(*shape) for shape in chosen)), at))

    def _draw(self, found: float, missed: float) -> np.ndarray:
        if found <= 0:
            return np.zeros(_DRAWS)
        return np.ones(_DRAWS) if missed <= 0 else self._random.beta(found, missed, _DRAWS)


def independent_controls(found: Sequence[Interval], subjects: Sequence[str]) -> tuple[float, float]:
    """Return how many of how many independent controls were found, from controls that are several copies of the same images.

    Copies of one image, or of one subject's images, that went through different distortions are found or missed together, so
    that no more than the subjects are independent.

    Args:
        found: rate of each distortion, of the same images.
        subjects: of the images to choose from; as many as possible are chosen.
    """
    total = sum(rate.total or 0 for rate in found)
    if not total:
        return 0.0, 0.0
    independent = float(min(max(rate.total or 0 for rate in found), group_codes(subjects)[1]))
    return sum(rate.count or 0 for rate in found) / total * independent, independent


def _corrected(rate: Any, alarm: Any, sensitivity: Any = 1.0) -> Any:
    return np.clip((rate - alarm) / np.maximum(sensitivity - alarm, 1e-3), 0, 1)
