"""Class labels, and the thresholds that classify scores.

Not here: the thresholds of each metric (metrics.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Label(IntEnum):
    """Class of a real-synthetic pair; codes as in the published test sets."""

    DIFFERENT = 0
    DUPLICATE = 1
    SIMILAR = 2


LABELS_BY_SCORE = (Label.DIFFERENT, Label.SIMILAR, Label.DUPLICATE)


@dataclass(frozen=True)
class Thresholds:
    """Scores up to `low` mean different, above `high` duplicate, in between similar; NaN where they are unknown.

    Source: arXiv:2509.16582; boundary cases as in its published labels.
    """

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether scores can be classified."""
        return not (np.isnan(self.low) or np.isnan(self.high))

    def classify(self, scores: np.ndarray) -> np.ndarray:
        """Return the label code of each score: int64, same shape as `scores`; compared in float64."""
        if not self.known:
            raise ValueError("scores cannot be classified by unknown thresholds")
        values = np.asarray(scores, dtype=np.float64)
        return np.select(
            [values <= self.low, values > self.high], [Label.DIFFERENT, Label.DUPLICATE], Label.SIMILAR
        ).astype(np.int64)


SSIM_THRESHOLDS = Thresholds(low=0.60, high=0.85)
"""Thresholds on aligned SSIM that define the true class of a pair, as in the published test labels (arXiv:2509.16582)."""

UNKNOWN = Thresholds(float("nan"), float("nan"))
"""Thresholds of a metric without pairs that they could be fitted to."""


def absent_classes(labels: np.ndarray) -> list[Label]:
    """Return the classes that no pair has, of labels as codes of `Label`, int (N,)."""
    present = set(np.asarray(labels).tolist())
    return [label for label in Label if label not in present]


def class_names(labels: Sequence[Label]) -> str:
    """Return the names of classes, joined by "or", for a sentence."""
    return " or ".join(label.name.lower() for label in labels)
