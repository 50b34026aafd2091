"""The pairs that readers rate: a random sample from above the limit, from just below it and from far below it.

Every synthetic image with the training image that it resembles most is a pair. Ids are made from pixels, so that ratings
cannot be taken for those of other images, and tell nothing about the score.

Not here: the page for readers (rating_page.py), what their ratings say (readers.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from deepssim.audit.leakage import Copies
from deepssim.audit.sides import Side
from deepssim.runtime.hashes import digests_of
from deepssim.runtime.provenance import fingerprint
from deepssim.seeds import numpy_generator

_NEAR = 0.1  # fraction of the images below the limit that count as just below it
_ID = 12  # hexadecimal digits; two of a million pairs are equal with a probability of 0.2 %, and only drawn pairs must differ


class Stratum(StrEnum):
    """Where the score of a pair lies."""

    ABOVE = "above the limit"
    NEAR = "just below the limit"
    FAR = "far below the limit"


@dataclass(frozen=True)
class RatingSample:
    """Pairs in the order in which they are shown.

    Attributes:
        rows, partners: int64 (n,), synthetic images and the training images that they resemble most.
        strata: of each pair.
        sizes: pairs of the audit in each stratum, of which the sample is drawn.
        pairs: id of each pair.
        groups: of each pair, the volume or image that is the unit of intervals.
        audit: id of the audit and of its sample.
    """

    rows: np.ndarray
    partners: np.ndarray
    strata: list[Stratum]
    sizes: dict[Stratum, int]
    pairs: list[str]
    groups: list[str]
    audit: str


def draw_pairs(train: Side, synthetic: Side, copies: Copies, count: int, seed: int) -> RatingSample:
    """Draw pairs, a third of them from each stratum where it has as many, in random order.

    Args:
        train, synthetic: images with hashes of their pixels.
        copies: which are above the limit, and how similar they are.
        count: pairs to draw.
        seed: of the draw and the order.
    """
    random = numpy_generator(seed, "pairs for readers")
    members = _members(copies, -(-count // len(Stratum)))
    sizes = {stratum: len(rows) for stratum, rows in members.items()}
    drawn = [
        (row, stratum)
        for stratum, some in _allocated(sizes, count).items()
        for row in random.permutation(members[stratum])[:some].tolist()
    ]
    drawn = [drawn[place] for place in random.permutation(len(drawn))]
    rows = np.array([row for row, _ in drawn], np.int64)
    strata = [stratum for _, stratum in drawn]
    partners = copies.original[rows]
    pairs = _pair_ids(train.pixel_hashes, synthetic.pixel_hashes, partners, rows)
    content = [sorted(train.pixel_hashes), sorted(synthetic.pixel_hashes)]
    shown = sorted(zip(pairs, [stratum.value for stratum in strata], strict=True))
    groups = [synthetic.subjects[row] for row in rows]
    audit = f"audit-{fingerprint([content, shown, list(sizes.values())])[:_ID]}"
    return RatingSample(rows, partners, strata, sizes, pairs, groups, audit)


def _members(copies: Copies, least: int) -> dict[Stratum, np.ndarray]:
    """Return the images of each stratum, at least so many just below the limit."""
    below = np.flatnonzero(~copies.flagged)
    below = below[np.argsort(-copies.scores[below], kind="stable")]
    near = max(least, round(_NEAR * len(below)))
    return {Stratum.ABOVE: np.flatnonzero(copies.flagged), Stratum.NEAR: below[:near], Stratum.FAR: below[near:]}


def _allocated(sizes: dict[Stratum, int], count: int) -> dict[Stratum, int]:
    """Return how many to draw from each stratum: equal numbers, and where one has fewer, more from the others."""
    drawn = dict.fromkeys(sizes, 0)
    for _ in range(min(count, sum(sizes.values()))):
        open_strata = [stratum for stratum in sizes if drawn[stratum] < sizes[stratum]]
        drawn[min(open_strata, key=lambda stratum: drawn[stratum])] += 1
    return drawn


def _pair_ids(train: Sequence[str], synthetic: Sequence[str], partners: np.ndarray, rows: np.ndarray) -> list[str]:
    """Name pairs by the pixels of both images; equal synthetic images are counted.

    Args:
        train, synthetic: hashes of the pixels of all images.
        partners, rows: training and synthetic image of each pair, int64 (n,).
    """
    digests = digests_of(synthetic)
    ids = []
    for partner, row in zip(partners.tolist(), rows.tolist(), strict=True):
        earlier = int((digests[:row] == digests[row]).sum())
        # A word before the digits keeps spreadsheets from reading them as a number.
        ids.append(f"pair-{fingerprint([train[partner], synthetic[row], earlier])[:_ID]}")
    return ids
