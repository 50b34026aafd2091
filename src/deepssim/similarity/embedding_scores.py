"""Scores between embeddings: cosine and Pearson correlation, both one product of normalised matrices.

Not here: making embeddings (encoders/embeddings.py), tiles and memory (tiles.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numba import njit, prange

from deepssim.encoders.embeddings import Embeddings
from deepssim.errors import DataError
from deepssim.similarity.lanes import numba_threads

# Products are computed in blocks filled up with zeros to multiples of these sizes, so that every score is added up by the
# same loop of the library, in the same order, whatever tile it is in. (MKL, with which PyTorch multiplies on x86, keeps to this;
# OpenBLAS, with which numpy multiplies, was seen to add in another order in every second group of six rows.)
_ROWS, _COLUMNS = 256, 512


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
        self.bytes_per_item = real.values.shape[1] * 12  # as they are, normalised, and filled up to blocks
        self._scores = torch.empty(0)

    def prepare_rows(self, rows: Any) -> np.ndarray:
        """Normalise real embeddings: float32 (r, D)."""
        return self._directions(self.real, rows)

    def prepare_columns(self, columns: Any) -> np.ndarray:
        """Normalise synthetic embeddings: float32 (s, D)."""
        return self._directions(self.synthetic, columns)

    def compare(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Score all pairs of normalised embeddings: float32 (r, s), in memory that the next call uses again."""
        height, width = (-(-len(side) // step) * step for side, step in ((rows, _ROWS), (columns, _COLUMNS)))
        if len(self._scores) < height * width:
            self._scores = torch.empty(height * width)
        scores = self._scores[: height * width].reshape(height, width)
        left, right = torch.from_numpy(_filled(rows, height)), torch.from_numpy(_filled(columns, width))
        with _torch_threads(self.threads):
            for start in range(0, width, _COLUMNS):
                block = scores[:, start : start + _COLUMNS]
                torch.mm(left, right[start : start + _COLUMNS].T, out=block)
                block.clamp_(-1, 1)  # while it is in the cache
        return scores[: len(rows), : len(columns)].numpy()

    def compare_pairs(
        self, rows: np.ndarray, columns: np.ndarray, row_of: np.ndarray, column_of: np.ndarray
    ) -> np.ndarray:
        """Score pairs of normalised embeddings: float32 (N,); equal to the matrix up to rounding of the last bit."""
        products = rows[row_of].astype(np.float64) * columns[column_of]
        return np.clip(products.sum(axis=1), -1, 1).astype(np.float32)

    def _directions(self, embeddings: Embeddings, part: Any) -> np.ndarray:
        values = np.asarray(embeddings.values[part], np.float32)
        directions, usable = np.empty_like(values), np.empty(len(values), np.bool_)
        with numba_threads(self.threads):
            _normalise(values, self.likeness is Likeness.PEARSON, directions, usable)
        if not usable.all():
            unusable = np.flatnonzero(~usable)
            row = int(np.arange(len(embeddings.keys))[part][unusable[0]])
            kind = "zero" if self.likeness is Likeness.COSINE else "constant"
            raise DataError(
                f"{embeddings.source or embeddings.encoder}: {len(unusable)} of {len(values)} embeddings are {kind} or "
                f"not finite, first that of {embeddings.keys[row]!r} in row {row}; check the image and the encoder"
            )
        return directions


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@njit(parallel=True, cache=True)
def _normalise(values: np.ndarray, centred: bool, directions: np.ndarray, usable: np.ndarray) -> None:
    """Divide rows by their length, less their mean if `centred`; say which rows have a direction."""
    count, features = values.shape
    for row in prange(count):
        mean, magnitude, length = 0.0, 0.0, 0.0
        for feature in range(features):
            mean += values[row, feature]
        mean = mean / features if centred else 0.0
        for feature in range(features):
            value = np.float64(values[row, feature])
            magnitude += value * value
            length += (value - mean) ** 2
        # What is left of a constant embedding after subtracting its mean is rounding, and its direction is chance.
        usable[row] = np.isfinite(length) and length > magnitude * 1e-14
        factor = 1 / np.sqrt(length) if usable[row] else 0.0
        for feature in range(features):
            directions[row, feature] = (values[row, feature] - mean) * factor


def _filled(values: np.ndarray, rows: int) -> np.ndarray:
    """Add rows of zeros up to `rows`."""
    if len(values) == rows:
        return values
    filled = np.zeros((rows, values.shape[1]), np.float32)
    filled[: len(values)] = values
    return filled
