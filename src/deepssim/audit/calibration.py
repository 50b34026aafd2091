"""When a synthetic image is called a copy: a limit of the score, calibrated on images that cannot be copies.

Not here: the evidence (evidence.py), what is counted with the limit (leakage.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.evidence import Best
from deepssim.evaluation.excess import AlarmRate, alarms_of_limit
from deepssim.evaluation.groups import Limit, conformal_limit, rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.seeds import numpy_generator

_FOLDS = 5
HELD_OUT = "held-out images, as if they were synthetic"
OTHER_SUBJECTS = "training images among those of other subjects, as if they were synthetic"
NOTHING = "none: there are no images of other subjects"


@dataclass(frozen=True)
class Rule:
    """What makes a synthetic image a copy, besides being identical.

    Attributes:
        threshold: scores above it are copies; infinity where there are no images of other subjects.
        limit: how the threshold was calibrated; None without such images.
        alarms: of the negative controls, each judged by a limit of other subjects, bool.
        alarm_rate: their rate, with its interval.
        controls: what the controls are, in words.
        held_out: whether they are held-out images.
    """

    threshold: float
    limit: Limit | None
    alarms: np.ndarray
    alarm_rate: Interval
    controls: str
    held_out: bool

    @property
    def false_alarms(self) -> AlarmRate | None:
        """How often an image that cannot be a copy is called one; None if not known."""
        return None if self.limit is None else alarms_of_limit(self.limit)

    @property
    def promised_rate(self) -> float | None:
        """Probability of a false alarm that the calibration promises; None if nothing is promised."""
        return None if self.limit is None else self.limit.promised

    def flags(self, scores: np.ndarray) -> np.ndarray:
        """Return which images are copies, bool (N,), by their scores, float (N,)."""
        return np.asarray(scores, dtype=np.float64) > self.threshold


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


def calibrated_rule(controls: Best, *, held_out: bool, rate: float, confidence: float, seed: int) -> Rule:
    """Calibrate the limit on subjects, each of whom counts once, however many images there are.

    Args:
        controls: images that cannot be copies, with their best candidates.
        held_out: whether they are held-out images; else training images among those of other subjects.
        rate: false alarms that are allowed.
        confidence: of intervals.
        seed: divides the subjects.
    """
    usable = controls.part(np.isfinite(controls.scores))
    if not len(usable.scores):
        nothing = np.zeros(0, bool)
        return Rule(float("inf"), None, nothing, rate_by_group(nothing, []), NOTHING, held_out)
    limit = conformal_limit(usable.scores, usable.subjects, rate)
    alarms = cross_alarms(usable.scores, usable.subjects, rate, seed)
    return Rule(
        limit.value, limit, alarms, rate_by_group(alarms, usable.subjects, confidence),
        HELD_OUT if held_out else OTHER_SUBJECTS, held_out,
    )  # fmt: skip
