"""Whether synthetic images copy the held-out images instead: training images and holdout were swapped, or the generator has seen both.

Not here: images that are equal in every pixel (refusals.py).
"""

from collections.abc import Sequence

from scipy.stats import binom

from deepssim.audit.evidence import Best
from deepssim.audit.preflight import Finding

SWAPPED = "folders may be swapped"  # kind of the finding
_MOST_ERROR = 0.01  # probability that folders in the right place are called swapped


def swapped_findings(
    to_train: Best, to_holdout: Best, limit: float, train_subjects: Sequence[str], holdout_subjects: Sequence[str]
) -> list[Finding]:
    """Say if synthetic images copy held-out subjects, by the audit's own score and limit, more often than training subjects.

    Each synthetic image above the limit names one subject, of the side that it resembles more, and many images of one subject
    count once. Without copies of held-out images they name held-out subjects no more often than there are held-out images
    among all real images.

    Args:
        to_train, to_holdout: best candidates of the synthetic images among training and among held-out images.
        limit: score above which an image is a copy.
        train_subjects, holdout_subjects: of the T training and H held-out images.
    """
    like_holdout = (to_holdout.scores > limit) & (to_holdout.scores > to_train.scores)
    like_train = (to_train.scores > limit) & ~like_holdout
    named = len({holdout_subjects[row] for row in to_holdout.partners[like_holdout].tolist()})
    others = len({train_subjects[row] for row in to_train.partners[like_train].tolist()})
    expected = len(holdout_subjects) / (len(holdout_subjects) + len(train_subjects))
    if not named or binom.sf(named - 1, named + others, expected) >= _MOST_ERROR:
        return []
    message = (
        f"{int(like_holdout.sum()):,} of {len(to_train.scores):,} synthetic images resemble held-out images (of {named:,} subjects) as "
        f"copies do, and {int(like_train.sum()):,} training images (of {others:,} subjects); if the training images and the holdout were "
        "swapped, or the generator has seen the holdout, name the right folders"
    )
    return [Finding(SWAPPED, message, [], True, True)]
