"""Evidence for each candidate: SSIM after alignment with its original, and the same for images that cannot be copies.

Not here: finding candidates (retrieval.py), calling them copies (calibration.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from deepssim.audit import leakage
from deepssim.audit.preflight import Finding, suspicious_pairs
from deepssim.audit.retrieval import Neighbours
from deepssim.audit.sides import Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.evaluation.groups import tail_limit
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.packs import ImagePack
from deepssim.registration.search import align
from deepssim.similarity.topk import TopK

_SAME_PICTURE = 0.95  # SSIM after alignment of two images of one moment
_SUSPECTS = 50  # pairs of real images that are aligned to find the same picture under two names


class Aligned(NamedTuple):
    """An image aligned with the training image that it may copy; all images float32 (H, W), 0 to 1.

    Attributes:
        image: the image, moved.
        ssim: exact SSIM of the two.
        real: the training image.
        other: the image as it was.
    """

    image: np.ndarray
    ssim: float
    real: np.ndarray
    other: np.ndarray


def confirmed(copies: leakage.Copies, aligned: dict[int, Aligned], limit: float) -> np.ndarray:
    """Return the candidates whose SSIM after alignment is above a limit; identical ones need no confirmation.

    Args:
        copies: candidates.
        aligned: aligned images by row.
        limit: see `confirmation_limit`.

    Returns:
        bool (S,).
    """
    candidates = copies.flagged & ~copies.identical
    return candidates & [row in aligned and aligned[row].ssim > limit for row in range(len(candidates))]


def confirmation_limit(ssim: np.ndarray, subjects: Sequence[str], tried: int, error: float) -> float:
    """Return the SSIM after alignment that confirms a copy.

    Args:
        ssim: of the negative controls, float64 (N,), NaN where it was not computed.
        subjects: of the controls.
        tried: synthetic images that are compared with the limit.
        error: probability that any of them exceeds it without being a copy.

    Returns:
        At least the published threshold of a duplicate; infinity where there are too few subjects to tell.
    """
    return max(SSIM_THRESHOLDS.high, tail_limit(ssim, subjects, tried, error))


def best_rows(copies: leakage.Copies, count: int) -> np.ndarray:
    """Return the synthetic images that resemble a training image most.

    Args:
        copies: with their scores.
        count: images to return at most.

    Returns:
        int64, shape (count,), rows of the synthetic images, best first.
    """
    return np.argsort(-copies.scores, kind="stable")[:count]


def align_best(
    copies: leakage.Copies, train: Side, synthetic: Side, borderline: np.ndarray, options: AuditConfig
) -> dict[int, Aligned]:
    """Align the best candidates and the borderline images with their originals.

    Args:
        copies: candidates and their originals.
        train, synthetic: images.
        borderline: rows of the synthetic images closest to the limit, int64 (B,).
        options: section `audit`.

    Returns:
        Aligned images by row of the synthetic images.
    """
    rows = np.unique(np.concatenate([best_rows(copies, max(options.verified, options.gallery)), borderline]))
    return align_pairs(train.packs, copies.original, synthetic.packs, rows)


def align_pairs(
    real: Sequence[ImagePack], partners: np.ndarray, other: Sequence[ImagePack], rows: np.ndarray
) -> dict[int, Aligned]:
    """Align images with their partners, in the geometry in which they then fit best.

    Args:
        real: images to align with, once for each geometry.
        partners: row in `real` of each image of `other`, int64 (N,).
        other: images to align, once for each geometry.
        rows: which of them, int64 (n,).

    Returns:
        Aligned images by row of `other`.
    """
    found = {}
    for row in tqdm(rows.tolist(), desc="aligning", unit="pair", disable=None):
        tried = []
        for first, second in zip(real, other, strict=True):
            pair = ImagePack(np.stack([first.images[partners[row]], second.images[row]]), ["real", "other"]).unit()
            registered = align(*pair)
            tried.append(Aligned(registered.image, registered.ssim, *pair))
        found[row] = max(tried, key=lambda item: item.ssim)
    return found


def negative_controls(sides: Sides, neighbours: Neighbours) -> tuple[TopK, Side]:
    """Return the images that cannot be copies, with their nearest training images.

    Args:
        sides: held-out images or, without a holdout, training images among those of other subjects.
        neighbours: of all images.
    """
    if sides.holdout is None:
        return neighbours.train_others, sides.train
    assert neighbours.holdout is not None
    return neighbours.holdout, sides.holdout


def control_ssim(sides: Sides, neighbours: Neighbours, count: int) -> np.ndarray:
    """Align the negative controls that resemble a training image most.

    Args:
        sides, neighbours: see `negative_controls`.
        count: images to align, and at least 50.

    Returns:
        float64 (N,), NaN for the others.
    """
    best, side = negative_controls(sides, neighbours)
    if not best.scores.shape[1]:
        return np.full(len(side.pack.keys), np.nan)
    rows = np.argsort(-best.scores[:, 0], kind="stable")[: max(count, _SUSPECTS)]
    ssim = np.full(len(side.pack.keys), np.nan)
    for row, aligned in align_pairs(sides.train.packs, best.partners[:, 0], side.packs, rows).items():
        ssim[row] = aligned.ssim
    return ssim


def same_pictures(sides: Sides, neighbours: Neighbours, ssim: np.ndarray) -> list[Finding]:
    """Find controls that are nearly the same picture as a training image of another subject.

    Args:
        sides, neighbours: see `negative_controls`.
        ssim: of the controls after alignment, float64 (N,), NaN where unknown.
    """
    best, side = negative_controls(sides, neighbours)
    if not best.scores.shape[1]:
        return []
    pairs = suspicious_pairs(
        best.scores[:, 0], best.partners[:, 0], side.pack.keys, sides.train.pack.keys, ssim, _SAME_PICTURE
    )
    if not pairs:
        return []
    what = "held-out images" if sides.holdout else "training images"
    message = (
        f"{len(pairs)} {what} have an SSIM above {_SAME_PICTURE:g} with a training image of another subject after "
        "alignment; if they are one patient under two names, the limit is too high and hides copies"
    )
    return [Finding("the same picture under two subjects", message, pairs[:20], sides.holdout is not None)]
