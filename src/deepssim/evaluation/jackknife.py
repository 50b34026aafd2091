"""Intervals of statistics that are no plain rates, such as F1 and AUROC, from few subjects: the jackknife by subject.

Percentiles of bootstrap samples of few subjects cover too seldom, since the samples vary less than new subjects would and a
fraction near 1 is skewed. The jackknife on the logit scale with Student's t covers: benchmarks/coverage.py simulates it.

Not here: rates (groups.py), the statistics (ranking.py, labelled_pairs.py).
"""

from enum import StrEnum

import numpy as np

from deepssim.evaluation.groups import Groups, group_codes
from deepssim.evaluation.intervals import Interval, rule_of_three
from deepssim.seeds import numpy_generator

LEAST_SUBJECTS = 5  # on each side of a statistic; fewer say too little about how subjects differ
_MOST_PARTS = 500  # that are left out in turn; more make an interval no better
_METHOD = "jackknife by subject"


class Scale(StrEnum):
    """Scale on which a statistic is taken to be normal."""

    LOGIT = "logit"  # fractions, 0 to 1
    LOG = "log"  # positive numbers


def leave_one_out(groups: Groups, seed: int = 0) -> np.ndarray:
    """Return weights of items that leave out one subject in turn.

    Args:
        groups: subject of each of N items.
        seed: of the division of more than 500 subjects into 500 parts, each of which is left out as one.

    Returns:
        uint8 (G, N); row g is 0 for the items of subject or part g, 1 for all others.
    """
    parts, count = parts_left_out(groups, seed)
    return (parts != np.arange(count)[:, None]).astype(np.uint8)


def parts_left_out(groups: Groups, seed: int = 0) -> tuple[np.ndarray, int]:
    """Return in which part each item is left out, and how many parts there are; see `leave_one_out`.

    Args:
        groups: subject of each of N items.
        seed: of the division of many subjects.

    Returns:
        int64 (N,), 0 to G - 1; G.
    """
    codes, count = group_codes(groups)
    if count <= _MOST_PARTS:
        return codes, count
    return numpy_generator(seed, "jackknife").permutation(count)[codes] % _MOST_PARTS, _MOST_PARTS


def jackknife_interval(
    value: float, samples: np.ndarray, fewest: int, confidence: float = 0.95, *, scale: Scale = Scale.LOGIT
) -> Interval:
    """Return a statistic with a confidence interval from its values without each subject.

    Args:
        value: of the statistic.
        samples: its values without each of the G subjects or parts, float64 (G,).
        fewest: subjects in the smallest class that the statistic compares, such as those with a duplicate.
        confidence: of the interval.
        scale: on which the statistic is taken to be normal.

    Returns:
        No interval (NaN) below five subjects. Where the statistic is at the end of its range or no subject changes it, the
        rule of three over the fewest subjects; on the log scale no interval.

    Source: Tukey's jackknife, Efron and Stein 1981, doi:10.1214/aos/1176345462; degrees of freedom from the kurtosis of
    its values (Satterthwaite 1946, doi:10.2307/3002019), and at most those of the fewest subjects.
    """
    from scipy.special import expit, logit
    from scipy.stats import t as student

    nan = float("nan")
    parts = len(samples)
    if fewest < LEAST_SUBJECTS or not np.isfinite(samples).all() or not np.isfinite(value):
        return Interval(float(value), nan, nan, f"fewer than {LEAST_SUBJECTS} subjects in a class")
    error = np.sqrt(np.square(samples - value).sum())
    at_end = error == 0 or (scale is Scale.LOGIT and not 0 < value < 1)
    if at_end and scale is Scale.LOG:
        return Interval(float(value), nan, nan, "all subjects are alike")
    if at_end:
        edge = rule_of_three(fewest, confidence)
        low, high = value - edge * (value > 0), value + edge * (value < 1)
        return Interval(float(value), max(0.0, low), min(1.0, high), "rule of three over subjects")
    quantile = student.ppf((1 + confidence) / 2, max(1.0, min(_freedom(samples), parts - 1, fewest - 1)))
    if scale is Scale.LOG:
        factor = np.exp(quantile * error / value)
        return Interval(float(value), float(value / factor), float(value * factor), _METHOD)
    reach = quantile * error / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-reach, reach]))
    return Interval(float(value), float(low), float(high), _METHOD)


def _freedom(samples: np.ndarray) -> float:
    """Return the degrees of freedom of the variance of some values: fewer where a few of them make up most of it."""
    squares = np.square(samples - samples.mean())
    excess = len(samples) * np.square(squares).sum() / max(squares.sum() ** 2, 1e-300) - 1  # kurtosis - 1
    return float(2 * len(samples) / max(excess, 1e-9))


def difference_interval(first: Interval, second: Interval, samples: np.ndarray, other_samples: np.ndarray) -> Interval:
    """Return the difference of two statistics of the same subjects, first minus second, with its interval.

    Args:
        first, second: the statistics with their intervals of equal confidence.
        samples, other_samples: their values without each subject, float64 (G,), whose correlation is taken into account.

    Source: MOVER, Zou 2007, doi:10.1037/1082-989X.12.4.399, equations 7 and 8.
    """
    value = first.value - second.value
    if not np.isfinite([first.low, second.low]).all():
        unknown = first if not np.isfinite(first.low) else second
        return Interval(value, float("nan"), float("nan"), unknown.method)
    moving = samples.std() > 0 and other_samples.std() > 0
    correlation = float(np.corrcoef(samples, other_samples)[0, 1]) if moving else 0.0
    if np.array_equal(samples, other_samples) and value == 0:
        return Interval(0.0, float("nan"), float("nan"), "both are equal whichever subject is left out")
    return Interval(value, *mover_difference(first, second, correlation), _METHOD)


def mover_difference(first: Interval, second: Interval, correlation: float = 0.0) -> tuple[float, float]:
    """Return the ends of the interval of a difference, first minus second, from the intervals of both.

    Args:
        first, second: two statistics from 0 to 1.
        correlation: of their errors, -1 to 1.

    Source: MOVER, Zou 2007, doi:10.1037/1082-989X.12.4.399, equations 7 and 8.
    """

    def reach(ours: float, theirs: float) -> float:
        return float(np.sqrt(max(0.0, ours**2 + theirs**2 - 2 * correlation * ours * theirs)))

    value = first.value - second.value
    low = value - reach(first.value - first.low, second.high - second.value)
    high = value + reach(first.high - first.value, second.value - second.low)
    return max(-1.0, low), min(1.0, high)
