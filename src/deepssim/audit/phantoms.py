"""Copies of training subjects beside "copies" of held-out subjects, which cannot exist: what chance alone finds.

Training and held-out images form one gallery, in which candidates of the synthetic images are sought once more. Every
real image competes with the same others, whichever side it is on and however large the sides are, and is judged by the
same rule.

Not here: the rule (calibration.py), copies of training images alone (leakage.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepssim.audit.cache import AuditCache
from deepssim.audit.calibration import Rule
from deepssim.audit.evidence import Detective, best_of
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.detection.score import Score
from deepssim.detection.search import Found
from deepssim.evaluation.contrast import rate_difference, rate_ratio
from deepssim.evaluation.groups import group_codes
from deepssim.evaluation.intervals import share_interval
from deepssim.images.packs import ImagePack
from deepssim.runtime.hashes import Hashes
from deepssim.similarity.embeddings import Embeddings

MOST_IMAGES = 5000  # synthetic images compared once more: a draw of so many takes minutes, whatever there is to judge


@dataclass(frozen=True)
class Phantoms:
    """Candidates of the synthetic images among all real images.

    Attributes:
        found: candidates, whose partners are rows of the common gallery.
        identical: bool (R,), real images that a synthetic image equals in every pixel.
        subjects: of the real images; those of the two sides differ.
        trained: bool (R,), which of the real images are training images.
        left_out: held-out images that were not among them.
        images, drawn: synthetic images, and those of them that were compared.
    """

    found: Found
    identical: np.ndarray
    subjects: list[str]
    trained: np.ndarray
    left_out: int = 0
    images: int = 0
    drawn: int = 0

    @property
    def members(self) -> np.ndarray:
        """Which subjects, in the order of `subject_scores`, are training subjects: bool (M,)."""
        codes, count = group_codes(self.subjects)
        members = np.zeros(count, bool)
        members[codes[self.trained]] = True
        return members

    def nearest(self, score: Score) -> tuple[np.ndarray, np.ndarray]:
        """Return the best score of each synthetic image with a real one, and that image.

        Args:
            score: of pairs.

        Returns:
            float64 (D,), minus infinity without a candidate; int64 (D,), row of the common gallery, -1 without one.
        """
        best = best_of(self.found, score.of(self.found), [])
        return best.scores, best.partners

    def subject_scores(self, score: Score) -> np.ndarray:
        """Return the best score of any image of each subject with any synthetic image.

        Args:
            score: of pairs.

        Returns:
            float64 (M,), by subject in alphabetical order; minus infinity for a subject who is nobody's candidate,
            infinity for one with an identical image.
        """
        best = np.where(self.identical, np.inf, -np.inf)
        named = self.found.partners >= 0
        np.maximum.at(best, self.found.partners[named], score.of(self.found)[named])
        codes, count = group_codes(self.subjects)
        people = np.full(count, -np.inf)
        np.maximum.at(people, codes, best)
        return people


def find_phantoms(
    sides: Sides, usable: np.ndarray, tools: AuditTools, store: AuditCache, candidates: int, *, most: int = MOST_IMAGES
) -> Phantoms:
    """Compare the synthetic images with training and held-out images together.

    This takes as long as their comparison with the training images, which an audit has made already, since most of the
    time goes into the evidence for each candidate; a cached result takes none. Of more than `most` synthetic images
    those with the lowest hashes of their pixels are compared, which is a draw that neither their names nor their
    originals decide, and the same for both sides.

    Args:
        sides: all images, with a holdout.
        usable: held-out images that show no training image's scan under another name, bool (H,).
        tools, store: of the audit.
        candidates: of each source.
        most: synthetic images to compare.

    Raises:
        ValueError: without a holdout.
    """
    if sides.holdout is None:
        raise ValueError("copies of held-out images need a holdout")
    merged, trained = _together(sides.train, sides.holdout, np.flatnonzero(usable).tolist())
    contents = sides.synthetic.pixel_hashes
    hashes = contents.digests if isinstance(contents, Hashes) else np.asarray(contents)
    chosen = np.zeros(len(hashes), bool)
    chosen[np.argsort(hashes, kind="stable")[:most]] = True
    synthetic = sides.synthetic.part(chosen)
    detective = Detective(
        replace(sides, train=merged, holdout=None), tools, store, candidates, among="training and held-out images"
    )
    found = detective.of_side(synthetic, "synthetic images")
    made = set(synthetic.pixel_hashes)
    identical = np.array([content in made for content in merged.pixel_hashes], bool)
    return Phantoms(found, identical, merged.subjects, trained, int((~usable).sum()), len(hashes), int(chosen.sum()))


def _together(train: Side, holdout: Side, rows: Sequence[int]) -> tuple[Side, np.ndarray]:
    """Return training images and some held-out images, given by row, as one side, and which are training images, bool (R,).

    They are ordered by the hash of their pixels, so that not even the order tells who is a member. Names of the two
    cannot be equal.
    """

    def both(first: Sequence[str], second: Sequence[str]) -> list[str]:
        return [*(f"train {name}" for name in first), *(f"holdout {second[row]}" for row in rows)]

    hashes = [*train.pixel_hashes, *(holdout.pixel_hashes[row] for row in rows)]
    subjects, keys = both(train.subjects, holdout.subjects), both(train.pack.keys, holdout.pack.keys)
    order = sorted(range(len(hashes)), key=lambda row: (hashes[row], keys[row]))
    images = np.concatenate([train.pack.images, holdout.pack.images[list(rows)]])[order]
    values = np.concatenate([train.embeddings.values, holdout.embeddings.values[list(rows)]])[order]
    keys = [keys[row] for row in order]
    side = Side(
        ImagePack(images, keys),
        [hashes[row] for row in order],
        [subjects[row] for row in order],
        Embeddings(values, keys, train.embeddings.encoder, train.embeddings.checksum),
    )
    return side, np.array(order) < len(train.subjects)


def phantom_figures(phantoms: Phantoms, score: Score, rule: Rule, *, confidence: float) -> dict[str, Any]:
    """Compare the rate of copied training subjects with that of held-out subjects who look copied.

    A subject is copied if any candidate pair of any of their images scores above the limit, or an image is identical;
    the best candidate of a synthetic image is not preferred to its others. Where the generator has copied nobody, and
    members were not chosen by their looks, both rates are equal.

    Args:
        phantoms: candidates among both sides.
        score, rule: of the audit.
        confidence: of the intervals.

    Returns:
        `training` and `holdout`: rates by subject; `difference` and `ratio` of them; `expected_by_chance`: training
        subjects who would look copied at the rate of the held-out ones; `exceeds`: whether the interval of the
        difference is above 0; `images_per_subject` of both sides, since a subject with more images has more chances;
        `images`, `images_compared`, of the synthetic images; `reason`, why there is nothing, or None.
    """
    members = phantoms.members
    compared = {"images": phantoms.images, "images_compared": phantoms.drawn}
    if not np.isfinite(rule.threshold) or not members.any() or members.all():
        names = ("training", "holdout", "difference", "ratio", "expected_by_chance", "exceeds", "images_per_subject")
        return dict.fromkeys(names) | compared | {"reason": "there is no limit, or no held-out subject to compare with"}
    copied = rule.flags(phantoms.subject_scores(score))
    (found, total), (chance, others) = ((int(copied[side].sum()), int(side.sum())) for side in (members, ~members))
    difference = rate_difference(found, total, chance, others, confidence)
    return {
        "training": share_interval(found, total, confidence),
        "holdout": share_interval(chance, others, confidence),
        "difference": difference,
        "ratio": rate_ratio(found, total, chance, others, confidence),
        "expected_by_chance": chance / others * total,
        "exceeds": difference.low > 0,
        "images_per_subject": {
            "training": int(phantoms.trained.sum()) / total,
            "holdout": int((~phantoms.trained).sum()) / others,
        },
        **compared,
        "reason": None,
    }
