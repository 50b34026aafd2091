"""When a synthetic image is called a copy: a limit calibrated on held-out images, or published ones.

Not here: the lists of nearest images (neighbours.py), what is counted with the limit (leakage.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.retrieval import Neighbours, neighbourhood_ratios
from deepssim.evaluation.excess import AlarmRate, alarms_of_limit, measured_alarms
from deepssim.evaluation.groups import Limit, conformal_limit, rate_by_group
from deepssim.evaluation.intervals import Interval
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
        limit: how the threshold was calibrated; None without a holdout.
        alarms: measured on images that cannot be copies, bool; and its interval.
        alarm_rate: share of these controls that the rule calls copies, with its interval.
        controls: what the controls are, in words.
        subjects: of the controls, without a holdout; each its own if None.
    """

    threshold: float
    most_ratio: float | None
    limit: Limit | None
    alarms: np.ndarray
    alarm_rate: Interval
    controls: str
    subjects: Sequence[str] | None = None

    @property
    def false_alarms(self) -> AlarmRate | None:
        """How often an image that cannot be a copy is called one: by calibration, or as measured; None if not known."""
        if self.limit is not None:
            return alarms_of_limit(self.limit)
        subjects = self.subjects if self.subjects is not None else [str(row) for row in range(len(self.alarms))]
        return measured_alarms(self.alarms, subjects)

    @property
    def promised_rate(self) -> float | None:
        """Probability of a false alarm that the calibration promises; None without a holdout."""
        return None if self.limit is None else self.limit.promised

    def flags(self, scores: np.ndarray, ratios: np.ndarray) -> np.ndarray:
        """Return which images are copies.

        Args:
            scores: best score of each image, floating point (N,).
            ratios: neighbourhood ratios, float64 (N,), NaN where unknown.

        Returns:
            bool (N,).
        """
        above = np.asarray(scores, dtype=np.float64) > self.threshold
        if self.most_ratio is None:
            return above
        # Where a training set is too small for a neighbourhood there is no ratio, and the score decides alone.
        return above & ~(ratios >= self.most_ratio)


def cross_alarms(maxima: np.ndarray, subjects: Sequence[str], rate: float, seed: int) -> np.ndarray:
    """Return which held-out images are false alarms of a limit calibrated without their subject.

    Subjects are divided into five parts; each part is judged by the limit of the other four. A single subject cannot be
    judged by others and gives no alarm.

    Args:
        maxima: best score of each held-out image with the training images, floating point (n,).
        subjects: of each image.
        rate: false alarms that are allowed.
        seed: divides the subjects.

    Returns:
        bool (n,).
    """
    names = sorted(set(subjects))
    numpy_generator(seed, "calibration folds").shuffle(names)
    fold_of = {name: number % _FOLDS for number, name in enumerate(names)}
    folds = np.array([fold_of[subject] for subject in subjects])
    alarms = np.zeros(len(maxima), bool)
    for fold in np.unique(folds):
        inside = folds == fold
        if not inside.all():
            others = [subject for subject, own in zip(subjects, inside, strict=True) if not own]
            alarms[inside] = maxima[inside] > conformal_limit(maxima[~inside], others, rate).value
    return alarms


def calibrated_rule(
    neighbours: Neighbours, subjects: Sequence[str], *, rate: float, confidence: float, seed: int
) -> Rule:
    """Calibrate the limit on held-out subjects, each of whom counts once, however many images there are.

    Args:
        neighbours: with a holdout.
        subjects: of the held-out images.
        rate: false alarms that are allowed.
        confidence: of intervals.
        seed: divides the subjects.
    """
    assert neighbours.holdout is not None
    maxima = neighbours.holdout.scores[:, 0].astype(np.float64)
    limit = conformal_limit(maxima, subjects, rate)
    alarms = cross_alarms(maxima, subjects, rate, seed)
    return Rule(
        limit.value, None, limit, alarms, rate_by_group(alarms, subjects, confidence),
        "held-out images, as if they were synthetic",
    )  # fmt: skip


def published_rule(neighbours: Neighbours, subjects: Sequence[str], *, confidence: float) -> Rule:
    """Take published limits where there is no holdout: the paper's threshold and the ratio to the local neighbourhood.

    The controls are then training images among those of other subjects. The encoder may have seen them in training, so
    they are a stand-in for patients whom nothing has seen.

    Args:
        neighbours: without a holdout.
        subjects: of the training images.
        confidence: of intervals.

    Source: arXiv:2509.16582 for the threshold, Carlini et al. 2023, arXiv:2301.13188, for the ratio.
    """
    rule = Rule(SSIM_THRESHOLDS.high, _MOST_RATIO, None, np.zeros(0, bool), rate_by_group(np.zeros(0, bool), []), "")
    if not neighbours.train_others.scores.shape[1]:
        return Rule(rule.threshold, rule.most_ratio, None, rule.alarms, rule.alarm_rate, "none: there is one subject")
    best = neighbours.train_others
    alarms = rule.flags(best.scores[:, 0], neighbourhood_ratios(best, subjects))
    controls = "training images among those of other subjects, as if they were synthetic"
    return Rule(
        rule.threshold, rule.most_ratio, None, alarms, rate_by_group(alarms, subjects, confidence), controls, subjects
    )
