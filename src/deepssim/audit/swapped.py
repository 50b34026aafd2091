"""Whether synthetic images copy the held-out images instead: training images and holdout were swapped, or the generator has seen both.

Not here: images that are equal in every pixel (refusals.py).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from deepssim.audit.preflight import Finding
from deepssim.audit.retrieval import Neighbours

_LEAST_HELD_OUT = 20  # images, to say what unrelated images reach
_MOST_ERROR = 0.01  # probability that folders in the right place are called swapped


def swapped_findings(
    neighbours: Neighbours, train_subjects: Sequence[str], holdout_subjects: Sequence[str], usable: np.ndarray
) -> list[Finding]:
    """Say if synthetic images resemble held-out subjects as no unrelated image does, more often than training subjects.

    Only synthetic images count whose best score exceeds that of every held-out image with a training image. Each names one
    subject, so that many images of one subject count once. If none of them is a copy, they name held-out subjects as often as
    there are held-out images among all real images.

    Args:
        neighbours: nearest images by embedding.
        train_subjects, holdout_subjects: of the T training and H held-out images.
        usable: held-out images that show no scan of a training image, bool (H,).
    """
    unrelated = neighbours.holdout.scores[:, 0][usable]
    if len(unrelated) < _LEAST_HELD_OUT:
        return []
    to_train, to_holdout = neighbours.synthetic, neighbours.synthetic_holdout
    first, second = to_train.scores[:, 0], to_holdout.scores[:, 0]
    like_holdout = (second > unrelated.max()) & (second > first)
    like_train = (first > unrelated.max()) & (first >= second)
    named = len({holdout_subjects[row] for row in to_holdout.partners[like_holdout, 0].tolist()})
    others = len({train_subjects[row] for row in to_train.partners[like_train, 0].tolist()})
    expected = len(holdout_subjects) / (len(holdout_subjects) + len(train_subjects))
    if binom.sf(named - 1, named + others, expected) >= _MOST_ERROR:
        return []
    message = (
        f"{int(like_holdout.sum()):,} of {len(first):,} synthetic images resemble held-out images of {named:,} subjects more than any "
        f"two unrelated images resemble each other, and {int(like_train.sum()):,} resemble training images of {others:,} subjects so; "
        "if training images and holdout were swapped, or the generator has seen the holdout, name the right folders"
    )
    return [Finding(SWAPPED, message, [], True)]


SWAPPED = "folders may be swapped"
