"""Real images, prepared so that copies of them are found quickly.

Not here: the search (search.py).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from deepssim.detection.pattern import best_poses, pattern, pattern_in_poses
from deepssim.detection.vlad import Vocabulary, learn_vocabulary
from deepssim.images.packs import ImagePack
from deepssim.registration.keypoints import LEVELS, symmetric_descriptors
from deepssim.registration.proof import Prepared, prepare

_LARGE = 2**20  # numbers of all vectors of a level from which images are compared together
_TOGETHER = 32  # images in one product, those of a task of the search


@dataclass(frozen=True)
class Gallery:
    """Real images among which originals are sought.

    Attributes:
        prepared: T images.
        vocabularies: of keypoints, by level.
        vectors: of all keypoints of an image, float32 (T, D), by level.
        patterns: of each image in eight poses, float32 (8, T, F).
    """

    prepared: Sequence[Prepared]
    vocabularies: tuple[Vocabulary, ...]
    vectors: tuple[np.ndarray, ...]
    patterns: np.ndarray

    def keypoint_scores(self, images: Sequence[Prepared]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Return, by level, the similarity of keypoints under the best of four symmetries, float32 (N, T), and which, int64 (N, T)."""
        found = []
        for level, (vocabulary, vectors) in enumerate(zip(self.vocabularies, self.vectors, strict=True)):
            queries = [
                [vocabulary.aggregate(part) for part in symmetric_descriptors(image.keypoints[level].descriptors)]
                for image in images
            ]
            scores = _products(np.array(queries, np.float32), vectors)
            found.append((scores.max(axis=1), scores.argmax(axis=1)))
        return tuple(found)

    def pose_scores(self, images: Sequence[Prepared]) -> tuple[np.ndarray, np.ndarray]:
        """Return the cosine of patterns in the best pose of each real image, float32 (N, T), and the number of that pose."""
        return best_poses(np.stack([pattern(image.small) for image in images]), self.patterns)


def _products(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the products of vectors of images with those of a gallery, which do not depend on how many images there are.

    A product for each image reads a large gallery from memory each time, and takes 12 times as long with 2,000 real images as one
    for 32 images. All products with a large gallery have the same shape, since BLAS may round products by their shape.

    Args:
        queries: float32 (N, 4, D).
        vectors: float32 (T, D).

    Returns:
        float32 (N, 4, T).
    """
    if vectors.size < _LARGE:
        return queries @ vectors.T
    count, poses, length = queries.shape
    padded = np.zeros((-(-count // _TOGETHER), _TOGETHER * poses, length), np.float32)
    padded.reshape(-1, poses, length)[:count] = queries
    found = np.stack([part @ vectors.T for part in padded])
    return found.reshape(-1, poses, len(vectors))[:count]


def build_gallery(pack: ImagePack, seed: int, *, threads: int = 1) -> Gallery:
    """Prepare real images.

    Args:
        pack: T images, at least one.
        seed: of the words of keypoints.
        threads: processor threads.
    """
    with single_threaded_libraries():  # waiting threads of OpenMP would hold up those of others
        prepared = prepare_all(pack, threads=threads, progress="preparing real images")
        vocabularies = tuple(
            learn_vocabulary([image.keypoints[level].descriptors for image in prepared], seed)
            for level in range(len(LEVELS))
        )
        vectors = tuple(
            np.stack([vocabulary.aggregate(image.keypoints[level].descriptors) for image in prepared])
            for level, vocabulary in enumerate(vocabularies)
        )
        patterns = np.stack([pattern_in_poses(image.small) for image in prepared], axis=1)
        return Gallery(prepared, vocabularies, vectors, patterns)


def prepare_all(pack: ImagePack, *, threads: int = 1, progress: str | None = None) -> list[Prepared]:
    """Prepare the images of a pack.

    Args:
        pack: images.
        threads: processor threads.
        progress: what the progress bar says; none unless given.
    """
    with single_threaded_libraries(), ThreadPoolExecutor(threads) as pool:
        images = pool.map(prepare, pack.images)
        bar = tqdm(images, desc=progress, total=len(pack.keys), unit="image", disable=None if progress else True)
        return list(bar)


@contextmanager
def single_threaded_libraries() -> Iterator[None]:
    """Keep OpenCV and BLAS from starting threads of their own where images are already divided among threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)
