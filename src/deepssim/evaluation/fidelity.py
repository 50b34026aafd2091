"""How good and how varied synthetic images are: precision, recall, density, coverage and a kernel distance between embeddings.

A model that makes noise copies nobody. These statistics say so; those of real images against other real images are
beside them, since none of them has a scale of its own.

Not here: whether images are copies (audit/), embeddings (similarity/embeddings.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepssim.evaluation.groups import Groups, group_codes
from deepssim.seeds import numpy_generator

MANIFOLD_NEIGHBOURS = 3  # of precision and recall, as published
DENSITY_NEIGHBOURS = 5  # of density and coverage, as published
MOST_IMAGES = 1500  # of each set in one comparison
DIVISIONS = 10
_BLOCK_MIB = 64  # of distances at a time


@dataclass(frozen=True)
class Fidelity:
    """One statistic of synthetic images, with the same of real images.

    Attributes:
        value: synthetic images against one half of the real ones, mean over the divisions.
        lowest, highest: over the divisions; no confidence interval.
        floor: the other half of the real images against the first, mean over the same divisions: what images of the
            same kind reach.
        floor_lowest, floor_highest: over the divisions.
    """

    value: float
    lowest: float
    highest: float
    floor: float
    floor_lowest: float
    floor_highest: float


def fidelity(
    real: np.ndarray,
    subjects: Sequence[str],
    synthetic: np.ndarray,
    groups: Groups,
    *,
    divisions: int = DIVISIONS,
    most: int = MOST_IMAGES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare synthetic with real embeddings, and real with real ones in the same way.

    The subjects are divided in two at random. Images of one half are the reference; as many images of the other half,
    and of the synthetic ones, are compared with it, since all statistics but the kernel distance depend on the number
    of images. Embeddings are scaled to length 1.

    Args:
        real: embeddings of training images, floating point (T, D).
        subjects: of these.
        synthetic: embeddings, floating point (S, D), of which those that are drawn are read.
        groups: of the synthetic images, slices of one generated volume together.
        divisions: of the subjects.
        most: images of each set in one comparison, drawn at random.
        seed: of divisions and draws.

    Returns:
        `precision`, `recall`, `density`, `coverage` and `kernel_distance`, each a `Fidelity` or None; `images`, the
        fewest of each set in a comparison; `reason`, why there are none, or not all, or None. At least six images of
        each set are needed.

    Limits: all depend on the embedding, and say nothing of what it does not see, such as small lesions. Memorized
    images raise precision and density: read them beside the copy rate. Images of one subject are alike and make
    neighbourhoods small, in both numbers alike.

    Source: see `neighbourhood_statistics` and `kernel_distance`.
    """
    needed, sizes = DENSITY_NEIGHBOURS + 1, []
    names = ("precision", "recall", "density", "coverage", "kernel_distance")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    codes, made = group_codes(subjects)[0], group_codes(groups)[0]
    reference = _unit(real)
    for near, far, drawn in _draws(codes, len(synthetic), divisions, most, seed):
        if len(near) < needed:
            continue
        sizes.append(len(near))
        ours = _statistics(reference[near], _unit(synthetic[drawn]), codes[near], made[drawn])
        theirs = _statistics(reference[near], reference[far], codes[near], codes[far])
        for name in names:
            found[name].append((ours[name], theirs[name]))
    if not sizes:
        reason = f"needs {needed} synthetic images and {needed} real images of each half of the subjects"
        return dict.fromkeys(names) | {"images": 0, "reason": reason}
    summary = {name: _summary(np.array(pairs)) for name, pairs in found.items()}
    if np.isfinite(found["kernel_distance"]).all():
        return summary | {"images": min(sizes), "reason": None}
    reason = "the kernel distance needs images of two subjects or volumes in each set"
    return summary | {"kernel_distance": None, "images": min(sizes), "reason": reason}


def _draws(
    codes: np.ndarray, synthetic: int, divisions: int, most: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield equally many rows of one half of the subjects, of the other half, and of the synthetic images, int64 (n,) each."""
    random, count = numpy_generator(seed, "fidelity"), int(codes.max(initial=-1)) + 1
    for _ in range(divisions):
        first = np.isin(codes, random.permutation(count)[: count // 2])
        near, far = (random.permutation(np.flatnonzero(side)) for side in (first, ~first))
        drawn = random.permutation(synthetic)
        size = min(most, len(near), len(far), synthetic)
        yield near[:size], far[:size], drawn[:size]


def neighbourhood_statistics(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    manifold_neighbours: int = MANIFOLD_NEIGHBOURS,
    density_neighbours: int = DENSITY_NEIGHBOURS,
) -> dict[str, float]:
    """Return precision, recall, density and coverage.

    The ball of an image has the distance to its k-th nearest neighbour of the same set as radius. Precision: fraction
    of synthetic images in the ball of any real one; recall: fraction of real images in the ball of any synthetic one
    (k = 3). Density: mean number of real balls that a synthetic image is in, divided by k; coverage: fraction of real
    images with a synthetic one in their ball (k = 5). Distances are Euclidean and are computed in blocks of at most 64
    MiB.

    Args:
        real: floating point (N, D), N above both numbers of neighbours.
        synthetic: floating point (M, D), M above `manifold_neighbours`.
        manifold_neighbours: k of precision and recall.
        density_neighbours: k of density and coverage.

    Returns:
        `precision`, `recall`, `coverage`: 0 to 1; `density`: at least 0, about 1 for sets of one distribution.

    Source: Kynkaanniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797. Limits: one outlier with a
    large ball raises precision and recall (Naeem et al.), and all change with the number of images and with D.
    """
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    def radii(values: np.ndarray, neighbours: int) -> np.ndarray:
        apart, _ = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(values).kneighbors()
        return apart[:, -1]

    real_wide, synthetic_wide = radii(real, manifold_neighbours), radii(synthetic, manifold_neighbours)
    real_dense = radii(real, density_neighbours)
    inside = np.zeros(len(synthetic), bool)
    dense = np.zeros(len(synthetic), np.int64)
    recalled, covered, start = np.zeros(len(real), bool), np.zeros(len(real), bool), 0
    for block in pairwise_distances_chunked(real, synthetic, working_memory=_BLOCK_MIB):
        rows = slice(start, start + len(block))
        inside |= (block <= real_wide[rows, None]).any(axis=0)
        recalled[rows] = (block <= synthetic_wide).any(axis=1)
        close = block <= real_dense[rows, None]
        dense += close.sum(axis=0)
        covered[rows] = close.any(axis=1)
        start += len(block)
    return {
        "precision": float(inside.mean()),
        "recall": float(recalled.mean()),
        "density": float(dense.mean() / density_neighbours),
        "coverage": float(covered.mean()),
    }


def kernel_distance(
    first: np.ndarray, second: np.ndarray, first_groups: np.ndarray, second_groups: np.ndarray
) -> float:
    """Return the squared maximum mean discrepancy with the kernel (x y + 1)^3, without bias.

    mean k(first, first) + mean k(second, second) - 2 mean k(first, second), where pairs of one group are left out of
    the first two means: images of one subject are alike, and would set the distance of two sets of different subjects
    above 0.

    Args:
        first, second: floating point (N, D) and (M, D), rows of length 1.
        first_groups, second_groups: subject or volume of each, int64 (N,) and (M,).

    Returns:
        At most 8 above and below 0, about 0 for sets of one distribution; NaN where all images of a set are of one
        group.

    Source: Binkowski et al. 2018, arXiv:1801.01401, with the kernel (x y / D + 1)^3 of Inception features; rows of
    length 1 need no division by D. Values of different embeddings cannot be compared, nor with published kernel
    Inception distances.
    """
    from sklearn.metrics.pairwise import polynomial_kernel
    from sklearn.utils import gen_batches

    def total(rows: np.ndarray, columns: np.ndarray) -> float:
        step = max(1, int(_BLOCK_MIB * 2**20) // (8 * len(columns)))
        blocks = (
            polynomial_kernel(rows[part], columns, degree=3, gamma=1, coef0=1) for part in gen_batches(len(rows), step)
        )
        return sum(float(block.sum(dtype=np.float64)) for block in blocks)

    def within(values: np.ndarray, groups: np.ndarray) -> float:
        _, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        alone = values[sizes[places] == 1]  # at once: most synthetic images are groups of their own
        same = float(((np.square(alone).sum(axis=1) + 1) ** 3).sum())
        parts = (values[places == place] for place in np.flatnonzero(sizes > 1))
        same += sum(total(part, part) for part in parts)
        pairs = len(values) ** 2 - int(np.square(sizes).sum())
        return (total(values, values) - same) / pairs if pairs else float("nan")

    cross = total(first, second) / (len(first) * len(second))
    return within(first, first_groups) + within(second, second_groups) - 2 * cross


def _unit(values: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float64; the statistics of the squared differences of float32 are too coarse for equal images."""
    exact = np.asarray(values, np.float64)
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _statistics(real: np.ndarray, other: np.ndarray, subjects: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    return neighbourhood_statistics(real, other) | {"kernel_distance": kernel_distance(real, other, subjects, groups)}


def _summary(pairs: np.ndarray) -> Fidelity:
    """Return means and ranges of both columns, float64 (divisions, 2)."""
    (value, floor), (lowest, floor_lowest), (highest, floor_highest) = (
        pairs.mean(axis=0),
        pairs.min(axis=0),
        pairs.max(axis=0),
    )
    return Fidelity(*(float(number) for number in (value, lowest, highest, floor, floor_lowest, floor_highest)))
