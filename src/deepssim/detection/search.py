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

_PROVED = 2  # candidates with the most keypoints, and as many with the most similar pattern, that are registered
_BATCH = 32  # images of one task


@dataclass(frozen=True)
class Found:
    """Candidates of N images with their evidence.

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

    def part(self, rows: np.ndarray) -> "Found":
        """Return some of the images."""
        return Found(self.partners[rows], self.cues[rows], self.overlap[rows], self.proved[rows])


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
        chosen, patterns, poses = _candidates(gallery, images, rows, k, excluded, cosines)
        for row, image, partners in zip(rows, images, chosen, strict=True):
            evidence = _evidence(gallery, image, partners, patterns[row - start], poses[row - start])
            for place, (partner, item) in enumerate(evidence):
                found.partners[row, place] = partner
                found.cues[row, place, : len(CUES)] = item.cues
                found.overlap[row, place] = item.overlap
                found.proved[row, place] = item.matrix is not None
            if cosines is not None and len(partners):
                found.cues[row, : len(partners), -1] = (
                    cosines.real[found.partners[row, : len(partners)]] @ cosines.other[row]
                )
        return len(rows)

    with (
        single_threaded_libraries(),
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=count, desc=progress, unit="image", disable=None) as bar,
    ):
        for done in pool.map(task, range(0, count, _BATCH)):
            bar.update(done)
    return found


def _candidates(
    gallery: Gallery,
    images: Sequence[Prepared],
    rows: np.ndarray,
    k: int,
    excluded: Callable[[np.ndarray], np.ndarray] | None,
    cosines: Cosines | None,
) -> tuple[list[list[int]], np.ndarray, np.ndarray]:
    """Return the best k rows of the gallery by each source for each image, cosines of patterns, and best poses."""
    patterns, poses = gallery.pose_scores(images)
    sources = [*gallery.keypoint_scores(images), patterns]
    if cosines is not None:
        sources.append(cosines.other[rows] @ cosines.real.T)
    forbidden = np.zeros(patterns.shape, bool) if excluded is None else excluded(rows)
    most = min(k, patterns.shape[1])
    chosen: list[list[int]] = [[] for _ in images]
    for scores in sources:
        allowed = np.where(forbidden, -np.inf, scores)
        best = np.argsort(-allowed, axis=1, kind="stable")[:, :most]
        for row, places in enumerate(best):
            chosen[row] += [int(place) for place in places if np.isfinite(allowed[row, place])]
    return [list(dict.fromkeys(partners)) for partners in chosen], patterns, poses


def _evidence(
    gallery: Gallery, image: Prepared, partners: Sequence[int], patterns: np.ndarray, poses: np.ndarray
) -> list[tuple[int, Evidence]]:
    """Look at all candidates, register the most promising ones, and return all with their evidence."""
    looks = {row: first_look(gallery.prepared[row], image, POSES[poses[row]], float(patterns[row])) for row in partners}
    by_keypoints = sorted(partners, key=lambda row: -looks[row].best_match.inliers)[:_PROVED]
    in_place = sorted(partners, key=lambda row: -looks[row].in_place)[:_PROVED]
    registered = {*by_keypoints, *in_place}
    return [
        (row, prove(gallery.prepared[row], image, looks[row]) if row in registered else without_proof(looks[row]))
        for row in partners
    ]
