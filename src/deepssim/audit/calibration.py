"""When a synthetic image is called a copy: a limit calibrated on held-out images, or published ones.

Not here: the lists of nearest images (neighbours.py), what is counted with the limit (leakage.py).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.retrieval import Neighbours, neighbourhood_ratios
from deepssim.evaluation.intervals import Interval, share_by_subject
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.seeds import numpy_generator

_FOLDS = 5
_MOST_RATIO = 1.0  # Carlini et al. 2023: nearer than half the mean distance of the neighbourhood
NEIGHBOURS = 50  # Carlini et al. 2023


@dataclass(frozen=True)
class Rule:
    """What makes a synthetic image a copy, besides being identical.

    Attributes:
        threshold: scores above it are copies.
        most_ratio: limit of the neighbourhood ratio that copies must stay below as well; None with a holdout.
        promised_rate: false alarms that the calibration allows, a share; None without a holdout.
        alarms: measured on images that cannot be copies, bool; and its interval.
        alarm_rate: share of these controls that the rule calls copies, with its interval.
        controls: what the controls are, in words.
    """

    threshold: float
    most_ratio: float | None
    promised_rate: float | None
    alarms: np.ndarray
    alarm_rate: Interval
    controls: str

    def flags(self, scores: np.ndarray, ratios: np.ndarray) -> np.ndarray:
        """Return which images are copies by their best score and neighbourhood ratio; bool (N,)."""
        above = np.asarray(scores, dtype=np.float64) > self.threshold
        if self.most_ratio is None:
            return above
        # Where a training set is too small for a neighbourhood there is no ratio, and the score decides alone.
        return above & ~(ratios >= self.most_ratio)


def conformal_threshold(maxima: np.ndarray, rate: float) -> tuple[float, float]:
    """Return the score that an image exchangeable with the given ones exceeds with a probability of at most `rate`.

    Args:
        maxima: best score of each of n held-out images with the training images.
        rate: share of false alarms allowed, 0 to 1.

    Returns:
        The threshold, and the share that it can promise: `rate`, or 1 / (n + 1) where n images cannot promise as little.

    Source: Vovk et al. 2005, split-conformal quantile: the ceil((n + 1)(1 - rate))-th smallest.
    """
    count = len(maxima)
    if not count:
        raise ValueError("a threshold needs at least one held-out image")
    place = min(count, math.ceil(round((count + 1) * (1 - rate), 9)))
    return float(np.sort(np.asarray(maxima, dtype=np.float64))[place - 1]), max(rate, 1 / (count + 1))


def cross_alarms(maxima: np.ndarray, subjects: Sequence[str], rate: float, seed: int) -> np.ndarray:
    """Return which held-out images are false alarms of a threshold calibrated without their subject; bool (n,).

    Subjects are dealt out into five parts; each part is judged by the threshold of the other four. One subject alone
    cannot be judged by others and gives no alarm.
    """
    names = sorted(set(subjects))
    numpy_generator(seed, "calibration folds").shuffle(names)
    fold_of = {name: number % _FOLDS for number, name in enumerate(names)}
    folds = np.array([fold_of[subject] for subject in subjects])
    alarms = np.zeros(len(maxima), bool)
    for fold in np.unique(folds):
        inside = folds == fold
        if not inside.all():
            alarms[inside] = maxima[inside] > conformal_threshold(maxima[~inside], rate)[0]
    return alarms


def calibrated_rule(
    neighbours: Neighbours, subjects: Sequence[str], *, rate: float, share_of: Callable[..., Interval], seed: int
) -> Rule:
    """Calibrate the limit on held-out images.

    Args:
        neighbours: with a holdout.
        subjects: of the held-out images.
        rate: share of false alarms allowed.
        share_of: `(found, subjects)` to a share with its interval.
        seed: deals subjects out.
    """
    assert neighbours.holdout is not None
    maxima = neighbours.holdout.scores[:, 0].astype(np.float64)
    threshold, promised = conformal_threshold(maxima, rate)
    alarms = cross_alarms(maxima, subjects, rate, seed)
    return Rule(
        threshold, None, promised, alarms, share_of(alarms, subjects), "held-out images, as if they were synthetic"
    )


def published_rule(neighbours: Neighbours, subjects: Sequence[str], *, share_of: Callable[..., Interval]) -> Rule:
    """Take published limits where there is no holdout: the paper's threshold and the ratio to the local neighbourhood.

    The controls are then training images among those of other subjects. The encoder may have seen them in training, so
    they are a stand-in for patients whom nothing has seen.

    Args:
        neighbours: without a holdout.
        subjects: of the training images.
        share_of: `(found, subjects)` to a share with its interval.

    Source: arXiv:2509.16582 for the threshold, Carlini et al. 2023, arXiv:2301.13188, for the ratio.
    """
    rule = Rule(SSIM_THRESHOLDS.high, _MOST_RATIO, None, np.zeros(0, bool), share_of(np.zeros(0, bool), []), "")
    if not neighbours.train_others.scores.shape[1]:
        return Rule(rule.threshold, rule.most_ratio, None, rule.alarms, rule.alarm_rate, "none: there is one subject")
    best = neighbours.train_others
    alarms = rule.flags(best.scores[:, 0], neighbourhood_ratios(best, subjects))
    controls = "training images among those of other subjects, as if they were synthetic"
    return Rule(rule.threshold, rule.most_ratio, None, alarms, share_of(alarms, subjects), controls)


def share_with(*, confidence: float, repetitions: int, seed: int) -> Callable[..., Interval]:
    """Return a function of `(found, subjects)` that gives a share with its interval by subject."""
    return lambda found, subjects: share_by_subject(
        found, subjects, confidence=confidence, repetitions=repetitions, seed=seed
    )
