"""Whether training images and holdout were swapped: the limit would then hide copies, and nothing may be cleared.

Not here: images that are equal in every pixel (refusals.py), the comparison with all real images (phantoms.py).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from deepssim.audit.preflight import Finding

SWAPPED = "folders may be swapped"  # kind of the finding
_MOST_ERROR = 0.01  # probability that folders in the right place are called swapped


def swapped_findings(
    scores: np.ndarray, partners: np.ndarray, limit: float, certain: float, subjects: Sequence[str], trained: np.ndarray
) -> list[Finding]:
    """Say if synthetic images copy held-out subjects, by the audit's own score and limit.

    They do if a single image is certainly a copy of a held-out one, or if more held-out subjects are named than chance explains.

    Each synthetic image above the limit names one subject, that of the real image which it resembles most, and many images of
    one subject count once. Without copies of held-out images they name held-out subjects no more often than there are held-out
    images among all real images.

    Args:
        scores: of each synthetic image with the real image that it resembles most, float64 (D,).
        partners: that image, int64 (D,); -1 where there is none.
        limit: score above which an image is a copy.
        certain: score that none of so many unrelated images would reach.
        subjects: of the R training and held-out images; those of the two sides differ.
        trained: which of these are training images, bool (R,).
    """
    above, of_train = scores > limit, trained[partners]
    like_holdout, like_train = above & ~of_train, above & of_train
    named, others = (len({subjects[row] for row in partners[chosen].tolist()}) for chosen in (like_holdout, like_train))
    by_chance = named == 0 or binom.sf(named - 1, named + others, float((~trained).mean())) >= _MOST_ERROR
    if by_chance and not (like_holdout & (scores > certain)).any():
        return []
    message = (
        f"{int(like_holdout.sum()):,} of {len(scores):,} synthetic images resemble held-out images (of {named:,} subjects) as "
        f"copies do, and {int(like_train.sum()):,} training images (of {others:,} subjects); if the training images and the holdout were "
        "swapped, or the generator has seen the holdout, name the right folders"
    )
    return [Finding(SWAPPED, message, [], True, True)]
