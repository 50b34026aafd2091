"""What makes an audit's question unclear before any score: repeated images, images and subjects on both sides.

Not here: reading images (images/folders.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the data.

    Attributes:
        kind: short name.
        message: one sentence with numbers and what it means for the verdict.
        items: some of the images or subjects concerned, for people.
        qualifies: whether the verdict holds only with a reservation.
    """

    kind: str
    message: str
    items: Sequence[tuple[str, ...]]
    qualifies: bool


def duplicates_within(keys: Sequence[str], content: Sequence[str]) -> list[Finding]:
    """Find training images that occur more than once, by equal pixels.

    Args:
        keys: of the images.
        content: SHA-256 of their pixels.
    """
    groups: dict[str, list[str]] = {}
    for key, equal in zip(keys, content, strict=True):
        groups.setdefault(equal, []).append(key)
    repeated = [tuple(group) for group in groups.values() if len(group) > 1]
    if not repeated:
        return []
    images = sum(len(group) for group in repeated)
    message = (
        f"{images} of {len(keys)} training images are {len(repeated)} images that occur more than once; duplicates invite "
        "memorization, and a copy of one counts for all of them"
    )
    return [Finding("duplicates in the training set", message, repeated[:_SHOWN], False)]


def overlaps(
    train: tuple[Sequence[str], Sequence[str], Sequence[str]],
    holdout: tuple[Sequence[str], Sequence[str], Sequence[str]],
) -> tuple[list[Finding], np.ndarray]:
    """Find held-out images that are not held out.

    Args:
        train, holdout: keys, hashes of pixels and subjects of each side.

    Returns:
        Findings, and which held-out images can be used: bool (H,). The others would raise the threshold, since a training
        image resembles itself, and so would hide copies.
    """
    keys, content, subjects = holdout
    first_of = dict(zip(reversed(train[1]), reversed(train[0]), strict=True))
    same_image = np.array([equal in first_of for equal in content], bool)
    shared = sorted(set(train[2]) & set(subjects))
    same_subject = (
        np.isin(np.asarray(subjects, dtype=object).astype(str), shared) if shared else np.zeros(len(keys), bool)
    )
    findings = []
    if same_image.any():
        pairs = [(key, first_of[equal]) for key, equal in zip(keys, content, strict=True) if equal in first_of]
        message = f"{len(pairs)} of {len(keys)} held-out images are training images too; they were left out of the calibration"
        findings.append(Finding("images in training set and holdout", message, pairs[:_SHOWN], True))
    if shared:
        message = (
            f"{len(shared)} subjects are in the training set and in the holdout; their {int(same_subject.sum())} "
            "held-out images were left out of the calibration"
        )
        findings.append(
            Finding("subjects in training set and holdout", message, [(name,) for name in shared[:_SHOWN]], True)
        )
    return findings, ~(same_image | same_subject)


def suspicious_pairs(
    scores: np.ndarray,
    partners: np.ndarray,
    keys: Sequence[str],
    partner_keys: Sequence[str],
    ssim: np.ndarray,
    limit: float,
) -> list[tuple[str, str]]:
    """Return pairs of images of different subjects whose SSIM after alignment is above a limit, most similar first.

    Args:
        scores, partners: best score and partner of each of N images, float32 and int64 (N,).
        keys, partner_keys: of both sides.
        ssim: after alignment, NaN where it was not computed.
        limit: above which two images are nearly the same.
    """
    rows = np.flatnonzero(np.nan_to_num(ssim, nan=-1.0) > limit)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    return [(keys[row], partner_keys[partners[row]]) for row in rows.tolist()]
