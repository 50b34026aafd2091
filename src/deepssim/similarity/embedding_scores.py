"""Scores between embeddings: cosine and Pearson correlation, both one product of normalised matrices.

Not here: making embeddings (encoders/embeddings.py), tiles and memory (tiles.py).
"""

import math
from enum import StrEnum
from typing import Any

import numpy as np
from numba import njit, prange

from deepssim.errors import DataError
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.instructions import COLUMNS, ROWS
from deepssim.similarity.lanes import numba_threads
from deepssim.similarity.products import Panels, enter_products, multiply, multiply_pairs
from deepssim.similarity.topk import TopK


class Likeness(StrEnum):
    """How two embeddings are compared."""

    COSINE = "cosine"
    PEARSON = "pearson"  # cosine of what remains when each embedding's own mean is subtracted


class EmbeddingComparison:
    """Cosine or Pearson correlation between two sets of embeddings; see `tiles.Comparison`.

    Args:
        real: R embeddings of D values.
        synthetic: S embeddings of the same encoder.
        likeness: what to compute; scores are float32, -1 to 1, without unit.
        threads: processor threads.

    Raises:
        DataError: if they come from different encoders; later, on preparing an embedding that is not finite or, for
            cosine, zero or, for Pearson, constant: it has no direction.

    Source: arXiv:2509.16582, cosine of embeddings as an estimate of SSIM; arXiv:2402.01054 for Pearson.
    """

    def __init__(
        self, real: Embeddings, synthetic: Embeddings, *, likeness: Likeness = Likeness.COSINE, threads: int = 1
    ) -> None:
        if real.checksum != synthetic.checksum or real.values.shape[1:] != synthetic.values.shape[1:]:
            raise DataError(
                f"{synthetic.source or 'synthetic embeddings'}: come from encoder {synthetic.encoder} "
                f"({synthetic.checksum[:12]}), those of {real.source or 'real images'} from {real.encoder} "
                f"({real.checksum[:12]}); embed both with the same weights"
            )
        self.real, self.synthetic = real, synthetic
        self.likeness, self.threads = likeness, threads
        self.shape = len(real.keys), len(synthetic.keys)
        self.bytes_held = real.values.nbytes + synthetic.values.nbytes
        self.bytes_per_item = real.values.shape[1] * 8  # as they are and normalised
        self._scores = np.empty(0, np.float32)

    def prepare_rows(self, rows: Any) -> Panels:
        """Normalise real embeddings."""
        return self._directions(self.real, rows, ROWS)

    def prepare_columns(self, columns: Any) -> Panels:
        """Normalise synthetic embeddings."""
        return self._directions(self.synthetic, columns, COLUMNS)

    def compare(self, rows: Panels, columns: Panels) -> np.ndarray:
        """Score all pairs of normalised embeddings: float32 (r, s), in memory that the next call uses again."""
        shape = rows.count, columns.count
        if len(self._scores) < math.prod(shape):
            self._scores = np.empty(math.prod(shape), np.float32)
        scores = self._scores[: math.prod(shape)].reshape(shape)
        self.compare_into(rows, columns, scores)
        return scores

    def compare_into(self, rows: Panels, columns: Panels, scores: np.ndarray) -> None:
        """Write the same into a part of a matrix."""
        with numba_threads(self.threads):
            multiply(rows, columns, scores, self.threads)

    def enter_columns(self, rows: Panels, columns: Panels, first_row: int, best: TopK) -> None:
        """Enter the same into lists of the columns."""
        with numba_threads(self.threads):
            enter_products(rows, columns, first_row, best, self.threads)

    def compare_pairs(self, rows: Panels, columns: Panels, row_of: np.ndarray, column_of: np.ndarray) -> np.ndarray:
        """Score pairs of normalised embeddings: float32 (N,), the same as in the matrix."""
        with numba_threads(self.threads):
            return multiply_pairs(rows, columns, row_of, column_of)

    def _directions(self, embeddings: Embeddings, part: Any, width: int) -> Panels:
        values = np.asarray(embeddings.values[part], np.float32)
        directions, usable = Panels.empty(len(values), values.shape[1], width), np.empty(len(values), np.bool_)
        with numba_threads(self.threads):
            _normalise(values, self.likeness is Likeness.PEARSON, directions.values, usable)
        if not usable.all():
            unusable = np.flatnonzero(~usable)
            row = int(np.arange(len(embeddings.keys))[part][unusable[0]])
            kind = "zero" if self.likeness is Likeness.COSINE else "constant"
            raise DataError(
                f"{embeddings.source or embeddings.encoder}: {len(unusable)} of {len(values)} embeddings are {kind} or "
                f"not finite, first that of {embeddings.keys[row]!r} in row {row}; check the image and the encoder"
            )
        return directions


@njit(parallel=True, cache=True)
def _normalise(values: np.ndarray, centred: bool, panels: np.ndarray, usable: np.ndarray) -> None:
    """Write rows divided by their length, less their mean if `centred`, in panels; say which have a direction."""
    features, width = panels.shape[1:]
    for number in prange(len(panels)):
        panel = panels[number]
        rows = values[number * width : (number + 1) * width]
        for lane in range(width):
            for feature in range(features):
                panel[feature, lane] = rows[lane, feature] if lane < len(rows) else 0
        # Sums of all lanes beside each other, each from the first feature to the last.
        means, magnitudes, lengths = np.zeros(width), np.zeros(width), np.zeros(width)
        if centred:
            for feature in range(features):
                for lane in range(width):
                    means[lane] += panel[feature, lane]
            means /= features
        for feature in range(features):
            for lane in range(width):
                value = np.float64(panel[feature, lane])
                magnitudes[lane] += value * value
                lengths[lane] += (value - means[lane]) ** 2
        # What is left of a constant embedding after subtracting its mean is rounding, and its direction is chance.
        directed = np.isfinite(lengths) & (lengths > magnitudes * 1e-14)
        usable[number * width : (number + 1) * width] = directed[: len(rows)]
        factors = np.where(directed, 1 / np.sqrt(lengths), 0.0)
        for feature in range(features):
            for lane in range(width):
                panel[feature, lane] = (panel[feature, lane] - means[lane]) * factors[lane]
