"""Same patient, another visit: how often a real image is called a copy of another image of its own subject.

Every control image is a training image, sought among all training images without itself and judged like a synthetic one. It copies
no other image, so that each of these calls recognises a person and not a picture: the rate says which of the two a copy is.

Not here: the search (evidence.py), images that cannot be copies of anybody (calibration.py), how it is said (phrases.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.calibration import Rule
from deepssim.audit.controls import choose_controls
from deepssim.audit.evidence import Detective
from deepssim.audit.sides import AuditTools, Side
from deepssim.detection.score import Score
from deepssim.detection.search import Found
from deepssim.evaluation.groups import group_codes, rate_by_group
from deepssim.evaluation.intervals import Interval

NO_LIMIT = "there is no limit of the score"
NONE_WITH_SEVERAL = "no patient is known to have images of several visits"
_SAME_PICTURE = 2 / 255  # mean difference, outside black, of one picture stored twice, for example as PNG and as JPEG
_BLACK = 8 / 255  # of the intensity range
_AT_ONCE = 64  # images compared in one go, which bounds the memory for volumes


@dataclass(frozen=True)
class Visited:
    """Candidates of training images among all images but those of their own visit.

    Attributes:
        rows: int64 (n,), the training images.
        found: their candidates; None without any.
        eligible: how many training images are of a subject with an image of another visit.
    """

    rows: np.ndarray
    found: Found | None
    eligible: int


@dataclass(frozen=True)
class SameSubject:
    """What became of images of subjects who have images of other visits.

    Attributes:
        images: how many were judged.
        eligible: how many there are.
        called: fraction called copies of another image of their own subject; None if not known.
        nearest: fraction whose best candidate, above the limit or not, is of their own subject.
        retrieved: fraction with an image of their own subject among the candidates.
        median_score: of the best candidates of their own subject; NaN where there is none.
        reason: why nothing is known; None otherwise.
    """

    images: int
    eligible: int
    called: Interval | None
    nearest: Interval | None
    retrieved: Interval | None
    median_score: float
    reason: str | None


def make_visits(
    train: Side, visits: Sequence[str], unusable: np.ndarray, most: int, detective: Detective, tools: AuditTools
) -> Visited:
    """Draw training images whose subjects have images of other visits, and find candidates of each among these and all others.

    Args:
        train: training images.
        visits: name of the visit of each image; equal names of one subject are one visit. Files are visits if empty, so that slices
            of one file are of one.
        unusable: images of subjects who may be one patient under two names, bool (T,).
        most: images to draw, of as many subjects as possible.
        detective: finds candidates.
        tools: seed, and where the step is logged.
    """
    subjects = group_codes(train.subjects)[0]
    named = visits or [key.partition("#")[0] for key in train.pack.keys]
    scans = group_codes([f"{subject} {visit}" for subject, visit in zip(subjects, named, strict=True)])[0]
    eligible = np.flatnonzero(_with_others(subjects, scans) & ~unusable)
    drawn = [
        int(eligible[place]) for place in choose_controls([train.subjects[row] for row in eligible], most, tools.seed)
    ]
    left_out = {row: _same_picture(train, row, subjects == subjects[row]) | (scans == scans[row]) for row in drawn}
    rows = np.array([row for row in drawn if ((subjects == subjects[row]) & ~left_out[row]).any()], np.int64)
    if not len(rows):
        tools.steps.start("comparing no image with others of its subject: none has several")
        return Visited(rows, None, len(eligible))
    found = detective.of_other_visits(
        np.isin(np.arange(len(subjects)), rows),
        [subjects.tolist(), scans.tolist()],
        lambda some: np.stack([left_out[row] for row in some.tolist()]),
    )
    return Visited(rows, found, len(eligible))


def same_subject(visited: Visited, subjects: Sequence[str], score: Score, rule: Rule, confidence: float) -> SameSubject:
    """Count images that are called copies of another image of their own subject.

    Args:
        visited: images with their candidates.
        subjects: of all training images.
        score, rule: of the audit.
        confidence: of intervals.
    """
    found = visited.found
    if found is None or not np.isfinite(rule.threshold):
        reason = NONE_WITH_SEVERAL if found is None else NO_LIMIT
        return SameSubject(len(visited.rows), visited.eligible, None, None, None, float("nan"), reason)
    codes, whose = group_codes(subjects)[0], [subjects[row] for row in visited.rows]
    own = (found.partners >= 0) & (codes[found.partners] == codes[visited.rows][:, None])
    scores = score.of(found)
    best, retrieved = np.where(own, scores, -np.inf).max(axis=1), own.any(axis=1)
    nearest = own[np.arange(len(own)), scores.argmax(axis=1)]
    return SameSubject(
        len(visited.rows), visited.eligible, rate_by_group(rule.flags(best), whose, confidence),
        rate_by_group(nearest, whose, confidence), rate_by_group(retrieved, whose, confidence),
        float(np.median(best[retrieved])) if retrieved.any() else float("nan"), None,
    )  # fmt: skip


def _with_others(subjects: np.ndarray, scans: np.ndarray) -> np.ndarray:
    """Return which images are of a subject with several scans, bool (T,)."""
    pairs = np.unique(np.stack([subjects, scans]), axis=1)
    return (np.bincount(pairs[0]) > 1)[subjects]


def _same_picture(train: Side, row: int, others: np.ndarray) -> np.ndarray:
    """Return which training images show the very picture of one of them, bool (T,).

    These are images of equal pixels, whoever's, and of the others of its subject, bool (T,), nearly equal ones.
    """
    same = np.array([content == train.pixel_hashes[row] for content in train.pixel_hashes])
    full = np.iinfo(train.pack.images.dtype).max
    image = train.pack.images[row].astype(np.float32) / full
    places = np.flatnonzero(others)
    for part in np.split(places, range(_AT_ONCE, len(places), _AT_ONCE)):
        images = train.pack.images[part].astype(np.float32) / full
        shown = (images > _BLACK) | (image > _BLACK)
        apart = (np.abs(images - image) * shown).reshape(len(part), -1).sum(axis=1)
        same[part] |= apart <= _SAME_PICTURE * shown.reshape(len(part), -1).sum(axis=1)
    return same
