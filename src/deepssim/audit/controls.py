"""Controls: copies that must be found. They say how much a verdict is worth, and a third of them teaches the score.

Not here: the distortions (images/distort.py), negative controls, which calibrate the rule (calibration.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.audit.calibration import Rule
from deepssim.audit.evidence import Detective, best_of
from deepssim.audit.sides import AuditTools, Side
from deepssim.detection.score import Score
from deepssim.detection.search import Found
from deepssim.evaluation.groups import rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.ground_truth.tables import AUTOENCODER
from deepssim.images.distort import UNCHANGED, distort
from deepssim.images.folders import pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.seeds import numpy_generator

_TEACHING = 1 / 3  # of the copied images, whose subjects are apart from the others
_LEAST_SUBJECTS = 6  # to divide


@dataclass(frozen=True)
class Control:
    """What became of copies that went through one distortion.

    Attributes:
        distortion: its name.
        found: fraction that the rule calls copies.
        traced: fraction that the rule calls copies of the right subject.
        retrieved: fraction whose original is among the candidates.
        median_score: of the best score of each copy.
    """

    distortion: str
    found: Interval
    traced: Interval
    retrieved: Interval
    median_score: float


@dataclass(frozen=True)
class Copied:
    """Candidates of the copies of some training images.

    Attributes:
        rows: int64 (n,), the training images.
        found: candidates of their copies, by distortion.
    """

    rows: np.ndarray
    found: dict[str, Found]

    def part(self, chosen: np.ndarray) -> "Copied":
        """Return some of the images, bool (n,)."""
        places = np.flatnonzero(chosen)
        return Copied(self.rows[places], {name: found.part(places) for name, found in self.found.items()})

    def together(self) -> tuple[Found, np.ndarray]:
        """Return the candidates of all M changed copies and the rows of their originals, int64 (M,)."""
        changed = [found for name, found in self.found.items() if name != UNCHANGED]
        columns = ("partners", "cues", "overlap", "proved")
        joined = Found(*(np.concatenate([getattr(found, name) for found in changed]) for name in columns))
        return joined, np.tile(self.rows, len(changed))


def choose_controls(subjects: Sequence[str], count: int, seed: int) -> list[int]:
    """Choose training images to copy, of as many subjects as possible.

    Args:
        subjects: of the training images.
        count: images to choose at most.
        seed: of the choice.

    Returns:
        Row numbers, increasing.
    """
    rows = list(range(len(subjects)))
    numpy_generator(seed, "controls").shuffle(rows)
    seen: dict[str, int] = {}
    turn = []
    for row in rows:
        turn.append(seen.get(subjects[row], 0))
        seen[subjects[row]] = turn[-1] + 1
    order = np.argsort(turn, kind="stable")[:count]
    return sorted(rows[place] for place in order)


def make_controls(train: Side, count: int, detective: Detective, tools: AuditTools) -> Copied:
    """Copy training images with each distortion and find the candidates of the copies.

    Args:
        train: training images.
        count: images to copy.
        detective: finds candidates.
        tools: seed, distortions and autoencoder.
    """
    rows = np.array(choose_controls(train.subjects, count, tools.seed), np.int64)
    chosen = ImagePack(np.asarray(train.pack.images)[rows], [train.pack.keys[row] for row in rows])
    names, packs = zip(*_copies(chosen, train.pack, tools), strict=True)
    joined = ImagePack(
        np.concatenate([pack.images for pack in packs]),
        [f"{name}#{key}" for name, pack in zip(names, packs, strict=True) for key in pack.keys],
    )
    del packs  # hundreds of volumes take a gigabyte
    found = detective.of_pack(joined, pixel_hashes(joined), None, "distorted copies of training images")
    parts = np.arange(len(joined.keys)).reshape(len(names), len(rows))
    return Copied(rows, {name: found.part(part) for name, part in zip(names, parts, strict=True)})


def _copies(chosen: ImagePack, train: ImagePack, tools: AuditTools) -> Iterator[tuple[str, ImagePack]]:
    others = chosen if len(chosen.keys) > 1 else train
    changes = tools.engine.distortions
    for name, change in changes.items():
        if not change.mixes or len(others.keys) > 1:
            yield name, distort(chosen, name, tools.seed, others=others, changes=changes)
    if tools.reconstruct is not None:
        yield AUTOENCODER, tools.reconstruct(chosen)


def teaching(copied: Copied, subjects: Sequence[str], seed: int) -> np.ndarray:
    """Return which copied images teach the score, bool (n,); their subjects are apart from those that test it."""
    names = sorted({subjects[row] for row in copied.rows})
    if len(names) < _LEAST_SUBJECTS:
        return np.zeros(len(copied.rows), bool)
    numpy_generator(seed, "teaching controls").shuffle(names)
    chosen = set(names[: round(_TEACHING * len(names))])
    return np.array([subjects[row] in chosen for row in copied.rows])


def positive_controls(
    copied: Copied, subjects: Sequence[str], score: Score, rule: Rule, confidence: float
) -> list[Control]:
    """See which of the distorted copies the rule finds.

    Args:
        copied: candidates of the copies.
        subjects: of all training images.
        score, rule: of the audit.
        confidence: of intervals.
    """
    names = np.asarray(subjects, dtype=object).astype(str)
    whose = [names[row] for row in copied.rows]
    controls = []
    for name, found in copied.found.items():
        best = best_of(found, score.of(found), whose)
        flagged = rule.flags(best.scores)
        right = (best.partners >= 0) & (names[best.partners] == whose)
        retrieved = (found.partners == copied.rows[:, None]).any(axis=1)
        controls.append(
            Control(
                name,
                rate_by_group(flagged, whose, confidence),
                rate_by_group(flagged & right, whose, confidence),
                rate_by_group(retrieved, whose, confidence),
                float(np.median(best.scores)),
            )
        )
    return controls
