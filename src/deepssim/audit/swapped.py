"""Whether synthetic images copy the held-out images instead: training images and holdout were swapped, or the generator has seen both.

Not here: images that are equal in every pixel (refusals.py).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from deepssim.audit.preflight import Finding
from deepssim.audit.retrieval import Neighbours
from deepssim.audit.same_scans import unusual
from deepssim.detection.score import transformed_similarities

SWAPPED = "folders may be swapped"  # kind of the finding
_MOST_ERROR = 0.01  # probability that folders in the right place are called swapped


def swapped_findings(
    neighbours: Neighbours, train_subjects: Sequence[str], holdout_subjects: Sequence[str], usable: np.ndarray
) -> list[Finding]:
    """Say if synthetic images resemble held-out subjects as no unrelated image does, more often than training subjects.

    Only synthetic images count whose best score exceeds what unrelated images reach, extrapolated from the scores of held-out
    with training images. Each names one subject, so that many images of one subject count once. Without copies of held-out
    images they name held-out subjects no more often than there are held-out images among all real images.

    Args:
        neighbours: nearest images by embedding.
        train_subjects, holdout_subjects: of the T training and H held-out images.
        usable: held-out images that show no scan of a training image, bool (H,).
    """
    limit = unusual(transformed_similarities(neighbours.holdout.scores[usable, 0]))
    to_train, to_holdout = neighbours.synthetic, neighbours.synthetic_holdout
    first, second = (transformed_similarities(side.scores[:, 0]) for side in (to_train, to_holdout))
    like_holdout = (second > limit) & (second > first)
    like_train = (first > limit) & (first >= second)
    named = len({holdout_subjects[row] for row in to_holdout.partners[like_holdout, 0].tolist()})
    others = len({train_subjects[row] for row in to_train.partners[like_train, 0].tolist()})
    expected = len(holdout_subjects) / (len(holdout_subjects) + len(train_subjects))
    if not named or binom.sf(named - 1, named + others, expected) >= _MOST_ERROR:
        return []
    message = (
        f"{int(like_holdout.sum()):,} of {len(first):,} synthetic images are more like held-out images (of {named:,} subjects) than any "
        f"unrelated images are like each other, and {int(like_train.sum()):,} are so like training images (of {others:,} subjects); "
        "if the training images and the holdout were swapped, or the generator has seen the holdout, name the right folders"
    )
    return [Finding(SWAPPED, message, [], True)]
