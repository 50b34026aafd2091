"""The nearest images of every image, found once; all figures of an audit are read from these lists.

Scores are cosines of embeddings; where a statistic asks for a distance it is the Euclidean one between embeddings of
length 1, sqrt(2 - 2 cosine).

Not here: what is concluded from the lists (calibration.py, membership.py, leakage.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.topk import TopK, top_k


@dataclass(frozen=True)
class Neighbours:
    """The best partners of each image of an audit, best first.

    Attributes:
        synthetic: of synthetic images, among training images.
        train: of training images, among synthetic ones.
        train_others: of training images, among training images of other subjects; this is what a patient who is in the
            training set only once looks like. An empty list of width 0 where there is one subject.
        holdout: of held-out images, among training images; None without a holdout.
        holdout_synthetic: of held-out images, among synthetic ones; None without a holdout.
        synthetic_holdout: of synthetic images, among held-out ones; None without a holdout.
    """

    synthetic: TopK
    train: TopK
    train_others: TopK
    holdout: TopK | None
    holdout_synthetic: TopK | None
    synthetic_holdout: TopK | None


def find_neighbours(
    train: Embeddings,
    synthetic: Embeddings,
    holdout: Embeddings | None,
    subjects: Sequence[str],
    *,
    k: int,
    threads: int = 1,
    max_memory_gb: float = 2.0,
) -> Neighbours:
    """Compare all embeddings of an audit once.

    Args:
        train, synthetic, holdout: embeddings of one encoder; synthetic ones have no subject.
        subjects: of the training images.
        k: partners to keep.
        threads, max_memory_gb: see `topk.top_k`.
    """

    def both(rows: Embeddings, columns: Embeddings) -> tuple[TopK, TopK]:
        return top_k(  # type: ignore[return-value]
            EmbeddingComparison(rows, columns, threads=threads), k, max_memory_gb=max_memory_gb, threads=threads
        )

    of_train, of_synthetic = both(train, synthetic)
    most = int(np.unique(np.asarray(subjects, dtype=object).astype(str), return_counts=True)[1].max())
    wide = min(len(train.keys), k + most)  # an image's own subject fills up to so many places
    within, _ = top_k(
        EmbeddingComparison(train, train, threads=threads), wide,
        max_memory_gb=max_memory_gb, threads=threads, columns=False,
    )  # fmt: skip
    assert within is not None
    others = of_other_subjects(within, subjects, subjects, k)
    if holdout is None or not holdout.keys:
        return Neighbours(of_synthetic, of_train, others, None, None, None)
    _, of_holdout = both(train, holdout)
    holdout_synthetic, synthetic_holdout = both(holdout, synthetic)
    return Neighbours(of_synthetic, of_train, others, of_holdout, holdout_synthetic, synthetic_holdout)


def merge(lists: Sequence[Neighbours]) -> Neighbours:
    """Combine the lists of several geometries: of each pair the best score counts.

    Args:
        lists: of the same images.

    Returns:
        Lists of the same lengths; the first ones themselves if there is one geometry.
    """
    if len(lists) == 1:
        return lists[0]
    merged = {}
    for name in Neighbours.__dataclass_fields__:
        found = [best for item in lists if (best := getattr(item, name)) is not None]
        merged[name] = merge_lists(found) if found else None
    return Neighbours(**merged)  # type: ignore[arg-type]


def merge_lists(lists: Sequence[TopK]) -> TopK:
    """Combine lists of best partners of the same images, each partner with its best score; as long as the shortest."""
    if len(lists) == 1:
        return lists[0]
    width = min(best.scores.shape[1] for best in lists)
    scores = np.concatenate([best.scores for best in lists], axis=1)
    partners = np.concatenate([best.partners for best in lists], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, partners = (np.take_along_axis(values, order, axis=1) for values in (scores, partners))
    kept_scores, kept_partners = np.empty_like(scores[:, :width]), np.empty_like(partners[:, :width])
    for row in range(len(scores)):
        first = np.sort(np.unique(partners[row], return_index=True)[1])[:width]
        kept_scores[row], kept_partners[row] = scores[row, first], partners[row, first]
    return TopK(kept_scores, kept_partners)


def of_other_subjects(best: TopK, subjects: Sequence[str], partner_subjects: Sequence[str], k: int) -> TopK:
    """Leave out partners of an image's own subject and keep k of the others, or as many as every image has.

    Args:
        best: lists of N images.
        subjects: of these images.
        partner_subjects: of the images that `best.partners` points to.
        k: how many to keep at most.
    """
    codes = {name: code for code, name in enumerate(dict.fromkeys([*subjects, *partner_subjects]))}
    own = np.array([codes[name] for name in subjects], dtype=np.int64)
    theirs = np.array([codes[name] for name in partner_subjects], dtype=np.int64)
    other = theirs[best.partners] != own[:, None]
    width = min(k, int(other.sum(axis=1).min())) if len(own) else 0
    order = np.argsort(~other, axis=1, kind="stable")[:, :width]
    return TopK(np.take_along_axis(best.scores, order, axis=1), np.take_along_axis(best.partners, order, axis=1))


def distances(scores: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance between embeddings of length 1 for each cosine; float64, same shape."""
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * np.asarray(scores, dtype=np.float64)))


def neighbourhood_ratios(best: TopK, partner_subjects: Sequence[str], *, alpha: float = 0.5) -> np.ndarray:
    """Return how near the best partner is, as a multiple of `alpha` times the mean distance of the further ones.

    A copy is much nearer to its original than to anything else; an image in a crowded region is near to many. Further
    images of the best partner's subject do not count, since one patient's images lie together.

    Args:
        best: lists of N images; more partners than one are needed.
        partner_subjects: of the images that `best.partners` points to.
        alpha: 0.5 in the source, which calls an image extracted where the ratio is below its threshold of 1.

    Returns:
        float64 (N,); NaN where no partner of another subject is in the list.

    Source: Carlini et al. 2023, arXiv:2301.13188, section 5.1, with the 50 nearest images.
    """
    codes = {name: code for code, name in enumerate(dict.fromkeys(partner_subjects))}
    theirs = np.array([codes[name] for name in partner_subjects], dtype=np.int64)[best.partners]
    further = theirs != theirs[:, :1]
    apart = distances(best.scores)
    count = further.sum(axis=1)
    mean = np.where(further, apart, 0).sum(axis=1) / np.maximum(count, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((count > 0) & (mean > 0), apart[:, 0] / (alpha * mean), np.nan)


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
