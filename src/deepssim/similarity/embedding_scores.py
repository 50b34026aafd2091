"""Cosine similarity and Pearson correlation of embeddings, both the matrix product of normalised vectors.

Not here: computing embeddings (encoders/), tiles and memory (tiles.py).
"""

import math
from enum import StrEnum
from typing import Any

import numpy as np
from numba import prange

from deepssim.errors import DataError
from deepssim.runtime.compilation import compiled
from deepssim.similarity.embeddings import Embeddings, require_same_encoder
from deepssim.similarity.lanes import LANES, numba_threads
from deepssim.similarity.products import VectorBlocks, enter_products, multiply, multiply_pairs
from deepssim.similarity.topk import TopK


class EmbeddingSimilarity(StrEnum):
    """Similarity measure of two embeddings."""

    COSINE = "cosine"
    PEARSON = "pearson"  # cosine similarity after subtracting the mean of each embedding from it


class EmbeddingComparison:
    """Cosine similarity or Pearson correlation between two sets of embeddings; see `tiles.Comparison`.

    Args:
        real: R embeddings of D values.
        synthetic: S embeddings of D values, by the same encoder.
        similarity: measure to compute; scores are float32, -1 to 1, without unit.
        threads: processor threads; the result does not depend on it.

    Raises:
        DataError: if the two sets come from different encoders. Preparing an embedding raises it if the embedding is not
            finite, is zero (cosine) or is constant (Pearson), because its similarity is then undefined.

    Source: arXiv:2509.16582, cosine similarity of embeddings as an estimate of SSIM; arXiv:2402.01054 for Pearson.
    """

    def __init__(
        self,
        real: Embeddings,
        synthetic: Embeddings,
        *,
        similarity: EmbeddingSimilarity = EmbeddingSimilarity.COSINE,
        threads: int = 1,
    ) -> None:
        require_same_encoder(real, synthetic)
        self.real, self.synthetic = real, synthetic
        self.similarity, self.threads = similarity, threads
        self.shape = len(real.keys), len(synthetic.keys)
        self.bytes_held = real.values.nbytes + synthetic.values.nbytes
        self.bytes_per_item = real.values.shape[1] * 8  # float32, as selected and normalised
        self._scores = np.empty(0, np.float32)

    def prepare_rows(self, rows: Any) -> VectorBlocks:
        """Normalise real embeddings."""
        return self._unit_vectors(self.real, rows)

    def prepare_columns(self, columns: Any) -> VectorBlocks:
        """Normalise synthetic embeddings."""
        return self._unit_vectors(self.synthetic, columns)

    def compare(self, rows: VectorBlocks, columns: VectorBlocks) -> np.ndarray:
        """Score all pairs of prepared embeddings: float32 (r, s), in memory that the next call overwrites."""
        shape = rows.count, columns.count
        if len(self._scores) < math.prod(shape):
            self._scores = np.empty(math.prod(shape), np.float32)
        scores = self._scores[: math.prod(shape)].reshape(shape)
        self.compare_into(rows, columns, scores)
        return scores

    def compare_into(self, rows: VectorBlocks, columns: VectorBlocks, scores: np.ndarray) -> None:
        """Write the scores of all pairs to `scores`, float32 (r, s), which may be part of a larger matrix."""
        with numba_threads(self.threads):
            multiply(rows, columns, scores)

    def enter_columns(self, rows: VectorBlocks, columns: VectorBlocks, first_row: int, best: TopK) -> None:
        """Update the top-k lists of the columns with the scores of all pairs; `first_row` is the index of the first row."""
        with numba_threads(self.threads):
            enter_products(rows, columns, first_row, best)

    def compare_pairs(
        self, rows: VectorBlocks, columns: VectorBlocks, row_of: np.ndarray, column_of: np.ndarray
    ) -> np.ndarray:
        """Score pairs of prepared embeddings: float32 (N,), equal to their entries in the matrix."""
        with numba_threads(self.threads):
            return multiply_pairs(rows, columns, row_of, column_of)

    def _unit_vectors(self, embeddings: Embeddings, chosen: Any) -> VectorBlocks:
        values = np.asarray(embeddings.values[chosen], np.float32)
        vectors, usable = VectorBlocks.empty(*values.shape), np.empty(len(values), np.bool_)
        with numba_threads(self.threads):
            _normalise(values, self.similarity is EmbeddingSimilarity.PEARSON, vectors.values, usable)
        if not usable.all():
            unusable = np.flatnonzero(~usable)
            row = int(np.arange(len(embeddings.keys))[chosen][unusable[0]])
            kind = "zero" if self.similarity is EmbeddingSimilarity.COSINE else "constant"
            raise DataError(
                f"{embeddings.source or embeddings.encoder}: {len(unusable)} of {len(values)} embeddings are {kind} or "
                f"not finite, first that of {embeddings.keys[row]!r} in row {row}; check the image and the encoder"
            )
        return vectors


@compiled(parallel=True)
def _normalise(values: np.ndarray, centred: bool, blocks: np.ndarray, usable: np.ndarray) -> None:
    """Divide vectors by their length, after subtracting their mean if `centred`, and arrange them in lanes.

    Args:
        values: float32 (N, D).
        centred: whether to subtract the mean.
        blocks: float32 (blocks, D, 64), written; unused lanes become zero.
        usable: bool (N,), written; whether a vector is finite and its length is above zero.
    """
    features = values.shape[1]
    for number in prange(len(blocks)):
        block, first = blocks[number], number * LANES
        filled = min(LANES, len(values) - first)
        for lane in range(filled):
            for feature in range(features):
                block[feature, lane] = values[first + lane, feature]
        block[:, filled:] = 0
        # In float64; every lane is summed from the first feature to the last.
        means, magnitudes, lengths = np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
        if centred:
            for feature in range(features):
                for lane in range(LANES):
                    means[lane] += block[feature, lane]
            means /= features
        for feature in range(features):
            for lane in range(LANES):
                value = np.float64(block[feature, lane])
                magnitudes[lane] += value * value
                lengths[lane] += (value - means[lane]) ** 2
        # A constant embedding leaves only rounding errors after its mean is subtracted.
        directed = np.isfinite(lengths) & (lengths > magnitudes * 1e-14)
        usable[first : first + filled] = directed[:filled]
        factors = np.where(directed, 1 / np.sqrt(lengths), 0.0)
        for feature in range(features):
            for lane in range(LANES):
                block[feature, lane] = (block[feature, lane] - means[lane]) * factors[lane]
