"""Scores between embeddings: cosine and Pearson correlation, both one product of normalised matrices.

Not here: making embeddings (encoders/embeddings.py), tiles and memory (tiles.py).
"""

from enum import StrEnum
from typing import Any

import numpy as np
import torch

from deepssim.encoders.embeddings import Embeddings
from deepssim.errors import DataError

# Products are computed in blocks of one fixed shape, filled up with zeros, so that the order in which a score's terms are
# added does not depend on the size of a tile.
_BLOCK_ROWS, _BLOCK_COLUMNS = 512, 1024


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
                f"real embeddings come from encoder {real.encoder} ({real.checksum[:12]}) and synthetic ones from "
                f"{synthetic.encoder} ({synthetic.checksum[:12]}); embed both with the same weights"
            )
        self.real, self.synthetic = real, synthetic
        self.likeness, self.threads = likeness, threads
        self.shape = len(real.keys), len(synthetic.keys)
        self.bytes_held = real.values.nbytes + synthetic.values.nbytes
        self.bytes_per_item = real.values.shape[1] * 24  # float64 while it is normalised, float32 before and after

    def prepare_rows(self, rows: Any) -> torch.Tensor:
        """Normalise real embeddings: float32 (r, D)."""
        return self._directions(self.real, rows)

    def prepare_columns(self, columns: Any) -> torch.Tensor:
        """Normalise synthetic embeddings: float32 (s, D)."""
        return self._directions(self.synthetic, columns)

    def compare(self, rows: torch.Tensor, columns: torch.Tensor) -> np.ndarray:
        """Score all pairs of normalised embeddings: float32 (r, s)."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        scores = torch.empty(len(rows), len(columns))
        block = torch.empty(_BLOCK_ROWS, _BLOCK_COLUMNS)
        try:
            for left in range(0, len(columns), _BLOCK_COLUMNS):
                right = _filled(columns[left : left + _BLOCK_COLUMNS], _BLOCK_COLUMNS).T
                for top in range(0, len(rows), _BLOCK_ROWS):
                    part = scores[top : top + _BLOCK_ROWS, left : left + _BLOCK_COLUMNS]
                    torch.mm(_filled(rows[top : top + _BLOCK_ROWS], _BLOCK_ROWS), right, out=block)
                    torch.clamp(block[: part.shape[0], : part.shape[1]], -1, 1, out=part)
        finally:
            torch.set_num_threads(before)
        return scores.numpy()

    def compare_pairs(
        self, rows: torch.Tensor, columns: torch.Tensor, row_of: np.ndarray, column_of: np.ndarray
    ) -> np.ndarray:
        """Score pairs of normalised embeddings: float32 (N,); equal to the matrix up to rounding of the last bit."""
        left, right = rows[torch.from_numpy(row_of)], columns[torch.from_numpy(column_of)]
        return (left * right).sum(dim=1, dtype=torch.float64).clamp(-1, 1).float().numpy()

    def _directions(self, embeddings: Embeddings, part: Any) -> torch.Tensor:
        values = torch.from_numpy(np.asarray(embeddings.values[part])).double()
        magnitudes = values.norm(dim=1, keepdim=True)
        if self.likeness is Likeness.PEARSON:
            values -= values.mean(dim=1, keepdim=True)
        lengths = values.norm(dim=1, keepdim=True)
        # What is left of a constant embedding after subtracting its mean is rounding, and its direction is chance.
        usable = torch.isfinite(lengths) & (lengths > magnitudes * 1e-12)
        if not usable.all():
            unusable = (~usable.ravel()).nonzero().ravel().tolist()
            keys = [embeddings.keys[row] for row in np.arange(len(embeddings.keys))[part]]
            kind = "zero" if self.likeness is Likeness.COSINE else "constant"
            raise DataError(
                f"{embeddings.source or embeddings.encoder}: {len(unusable)} of {len(values)} embeddings are {kind} or "
                f"not finite, first that of {keys[unusable[0]]!r}; check the image and the encoder"
            )
        return (values / lengths).float()


def _filled(values: torch.Tensor, rows: int) -> torch.Tensor:
    """Add rows of zeros up to `rows`."""
    return torch.nn.functional.pad(values, (0, 0, 0, rows - len(values)))
