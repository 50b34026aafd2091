"""Class labels, and the thresholds that turn a score into one.

Not here: which thresholds a metric has (similarity/metrics.py).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Label(IntEnum):
    """Class of a real-synthetic pair; codes of the published test sets."""

    DIFFERENT = 0
    DUPLICATE = 1
    SIMILAR = 2


LABELS_BY_SCORE = (Label.DIFFERENT, Label.SIMILAR, Label.DUPLICATE)


@dataclass(frozen=True)
class Thresholds:
    """Scores of at most `low` mean different, above `high` duplicate, between them similar.

    Source: arXiv:2509.16582; the boundary cases are those of its published labels.
    """

    low: float
    high: float

    def classify(self, scores: np.ndarray) -> np.ndarray:
        """Return the label code of each score; int64, same shape. Scores are compared in float64."""
        values = np.asarray(scores, dtype=np.float64)
        return np.select(
            [values <= self.low, values > self.high], [Label.DIFFERENT, Label.DUPLICATE], Label.SIMILAR
        ).astype(np.int64)


SSIM_THRESHOLDS = Thresholds(low=0.60, high=0.85)
"""Thresholds on aligned SSIM that define the true class of a pair, equal to the published test labels (arXiv:2509.16582)."""
