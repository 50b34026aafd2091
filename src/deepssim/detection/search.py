"""The best candidates of images among real ones, and the evidence for each.

Candidates come from four sources, because each misses other copies: keypoints at two levels of detail, the coarse pattern in
sixteen poses, and an encoder's embeddings if there are any. All candidates get a first look; the most promising ones are registered.
Every image goes the same way, be it synthetic, held-out or a control.

Not here: the score that decides (score.py).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from deepssim.detection.gallery import Gallery, single_threaded_libraries
from deepssim.images.packs import ImagePack
from deepssim.registration.poses import POSES
from deepssim.registration.proof import CUES, Evidence, Prepared, first_look, prepare, prove, without_proof

_PROVED = 1  # candidate with the most keypoints, and one with the most similar pattern, that are registered
_BATCH = 32  # images of one task


@dataclass(frozen=True)
class Found:
    """Candidates of N images with their evidence, in memory or in files (`images.on_disk.StoredImages`).

    Attributes:
        partners: int64 (N, K), rows of the gallery; -1 where an image has fewer candidates.
        cues: float32 (N, K, 5 or 6), see `proof.CUES`; with an encoder also the cosine of embeddings.
        overlap: float32 (N, K), fraction of the real image that the other one covers.
        proved: bool (N, K), whether the pair was registered.
    """

    partners: np.ndarray
    cues: np.ndarray
    overlap: np.ndarray
    proved: np.ndarray

    def part(self, rows: np.ndarray | slice) -> "Found":
        """Return some of the images, given by row, int64 (n,), or by a slice."""
        return Found(self.partners[rows], self.cues[rows], self.overlap[rows], self.proved[rows])

    def loaded(self) -> "Found":
        """Return the same in memory, where it is in files."""
        return Found(*(np.asarray(values) for values in (self.partners, self.cues, self.overlap, self.proved)))


@dataclass(frozen=True)
class Cosines:
    """Embeddings of an encoder.

    Attributes:
        real, other: float32 (T, D) and (N, D), rows of length 1.
    """

    real: np.ndarray
    other: np.ndarray


def search(
    gallery: Gallery,
    pack: ImagePack,
    *,
    k: int,
    excluded: Callable[[np.ndarray], np.ndarray] | None = None,
    cosines: Cosines | None = None,
    threads: int = 1,
    progress: str = "comparing",
) -> Found:
    """Find candidates of images and the evidence for each.

    Args:
        gallery: real images.
        pack: N images.
        k: candidates of each source.
        excluded: maps rows of `pack`, int64 (n,), to the real images that they are not compared with, bool (n, T).
        cosines: embeddings of an encoder.
        threads: processor threads.
        progress: what the progress bar says.
    """
    count, width = len(pack.keys), min(len(gallery.prepared), k * (3 + (cosines is not None)))
    found = Found(
        np.full((count, width), -1, np.int64),
        np.zeros((count, width, len(CUES) + (cosines is not None)), np.float32),
        np.zeros((count, width), np.float32),
        np.zeros((count, width), bool),
    )

    def task(start: int) -> int:
        rows = np.arange(start, min(start + _BATCH, count))
        images = [prepare(pack.images[row]) for row in rows]
        similar = _Similar(gallery, images, None if cosines is None else cosines.other[rows] @ cosines.real.T)
        chosen = similar.candidates(k, None if excluded is None else excluded(rows))
        for place, (row, partners) in enumerate(zip(rows, chosen, strict=True)):
            for column, (partner, item) in enumerate(similar.evidence(place, partners)):
                found.partners[row, column] = partner
                found.cues[row, column, : len(CUES)] = item.cues
                found.overlap[row, column] = item.overlap
                found.proved[row, column] = item.matrix is not None
                if similar.cosines is not None:
                    found.cues[row, column, -1] = similar.cosines[place, partner]
        return len(rows)

    with (
        single_threaded_libraries(),
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=count, desc=progress, unit="image", disable=None) as bar,
    ):
        for done in pool.map(task, range(0, count, _BATCH)):
            bar.update(done)
    return found


class _Similar:
    """How similar some images are to all real ones, before any geometry.

    Args:
        gallery: T real images.
        images: N prepared images.
        cosines: of an encoder's embeddings, float32 (N, T).
    """

    def __init__(self, gallery: Gallery, images: Sequence[Prepared], cosines: np.ndarray | None) -> None:
        self.gallery, self.images, self.cosines = gallery, images, cosines
        self.patterns, self.poses = gallery.pose_scores(images)
        self.keypoints = gallery.keypoint_scores(images)

    def candidates(self, k: int, excluded: np.ndarray | None) -> list[list[int]]:
        """Return the best k rows of the gallery by each source, for each image; `excluded` ones, bool (N, T), never."""
        sources = [*(scores for scores, _ in self.keypoints), self.patterns]
        if self.cosines is not None:
            sources.append(self.cosines)
        chosen: list[list[int]] = [[] for _ in self.images]
        for scores in sources:
            allowed = scores if excluded is None else np.where(excluded, -np.inf, scores)
            for row, best in enumerate(np.argsort(-allowed, axis=1, kind="stable")[:, :k]):
                chosen[row] += [int(partner) for partner in best if np.isfinite(allowed[row, partner])]
        return [list(dict.fromkeys(partners)) for partners in chosen]

    def evidence(self, row: int, partners: Sequence[int]) -> list[tuple[int, Evidence]]:
        """Look at all candidates of one image, register the most promising ones, and return all with their evidence."""
        image, prepared = self.images[row], self.gallery.prepared
        looks = {
            partner: first_look(
                prepared[partner], image, [int(symmetry[row, partner]) for _, symmetry in self.keypoints],
                POSES[self.poses[row, partner]], float(self.patterns[row, partner]),
            )
            for partner in partners
        }  # fmt: skip
        by_keypoints = sorted(partners, key=lambda partner: -looks[partner].best_match.inliers)[:_PROVED]
        in_place = sorted(partners, key=lambda partner: -looks[partner].in_place)[:_PROVED]
        return [
            (partner, prove(prepared[partner], image, looks[partner], in_place=partner in in_place))
            if partner in {*by_keypoints, *in_place}
            else (partner, without_proof(looks[partner]))
            for partner in partners
        ]
