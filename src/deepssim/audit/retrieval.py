"""The nearest images of every image by their embeddings, for tests of the set as a whole.

Scores are cosines; where a statistic asks for a distance it is the Euclidean one between embeddings of length 1,
sqrt(2 - 2 cosine).

Not here: candidates for single copies (detection/search.py), what is concluded from the lists (membership.py).
"""

from dataclasses import dataclass

import numpy as np

from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.topk import TopK, top_k

_NEAREST = 2  # partners of each image


@dataclass(frozen=True)
class Neighbours:
    """The two best partners of each image, best first.

    Attributes:
        synthetic: of synthetic images, among training images.
        train: of training images, among synthetic ones.
        holdout: of held-out images, among training images.
        holdout_synthetic: of held-out images, among synthetic ones.
        synthetic_holdout: of synthetic images, among held-out ones.
    """

    synthetic: TopK
    train: TopK
    holdout: TopK
    holdout_synthetic: TopK
    synthetic_holdout: TopK


def find_neighbours(
    train: Embeddings, synthetic: Embeddings, holdout: Embeddings, *, threads: int = 1, max_memory_gb: float = 2.0
) -> Neighbours:
    """Compare all embeddings of an audit once.

    Args:
        train, synthetic, holdout: embeddings of one kind.
        threads, max_memory_gb: see `topk.top_k`.
    """

    def both(rows: Embeddings, columns: Embeddings) -> tuple[TopK, TopK]:
        return top_k(  # type: ignore[return-value]
            EmbeddingComparison(rows, columns, threads=threads), _NEAREST, max_memory_gb=max_memory_gb, threads=threads
        )

    of_train, of_synthetic = both(train, synthetic)
    _, of_holdout = both(train, holdout)
    holdout_synthetic, synthetic_holdout = both(holdout, synthetic)
    return Neighbours(of_synthetic, of_train, of_holdout, holdout_synthetic, synthetic_holdout)


def distances(scores: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance between embeddings of length 1 for each cosine; float64, same shape."""
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * np.asarray(scores, dtype=np.float64)))


def nearest_two_ratios(best: TopK) -> np.ndarray:
    """Return the distance to the nearest divided by that to the second nearest image.

    Returns:
        float64 (N,); NaN where there is no second.

    Source: Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94; of synthetic data, Zhao et al. 2021, arXiv:2102.08369.
    """
    if best.scores.shape[1] < 2:
        return np.full(len(best.scores), np.nan)
    apart = distances(best.scores[:, :2])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(apart[:, 1] > 0, apart[:, 0] / apart[:, 1], np.nan)
