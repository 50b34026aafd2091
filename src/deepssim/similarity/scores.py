"""Scores of one metric between real and synthetic images, and queries on them.

Two classes implement the same interface (`Scores`): the dense matrix and, if that is too large, the best partners of each
image and some other pairs (top_scores.py). Queries: scores of given pairs, the best partner of each image, and all known pairs.

Not here: score files (matrices.py), computing scores (ssim.py, fsim.py, embedding_scores.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from deepssim.errors import DataError
from deepssim.runtime.stored_arrays import keys_at
from deepssim.similarity.tiles import Tile
from deepssim.similarity.topk import TopK, update_columns, update_rows

_BLOCK = 4_000_000  # scores processed together


class PairBlock(NamedTuple):
    """N pairs with their scores: int64 row (index into the given training keys) and column, float32 score, (N,) each."""

    rows: np.ndarray
    columns: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Scores(ABC):
    """Scores of one metric between real and synthetic images; higher is more similar.

    Attributes:
        real_keys: R keys of the rows.
        synth_keys: S keys of the columns; of a file, `stored_arrays.StoredKeys`.
        metric: name of the metric.
    """

    real_keys: list[str]
    synth_keys: Sequence[str]
    metric: str

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.real_keys)}

    def rows(self, real_keys: Sequence[str]) -> np.ndarray:
        """Return the row indices of real keys: int64 (N,).

        Raises:
            DataError: if a key is not among the scores.
        """
        return look_up(real_keys, self._rows, "real")

    def columns(self, synth_keys: Sequence[str]) -> np.ndarray:
        """Return the column indices of synthetic keys: int64 (N,).

        Raises:
            DataError: if a key is not among the scores.
        """
        wanted = set(synth_keys)
        found = {key: column for column, key in enumerate(self.synth_keys) if key in wanted}
        return look_up(synth_keys, found, "synthetic")

    def keys_of_columns(self, columns: np.ndarray) -> list[str]:
        """Return the synthetic keys of columns, int64 (N,)."""
        return keys_at(self.synth_keys, columns)

    def pair_scores(self, real_keys: Sequence[str], synth_keys: Sequence[str]) -> np.ndarray:
        """Return the scores of N pairs, float64 (N,).

        Args:
            real_keys, synth_keys: N keys each.

        Raises:
            DataError: if a key or a pair is not among the scores.
        """
        return self._at(self.rows(real_keys), self.columns(synth_keys)).astype(np.float64)

    @abstractmethod
    def _at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the scores of pairs given by their rows and columns, float32 (N,)."""

    @abstractmethod
    def best_of_rows(self, train_keys: Sequence[str]) -> TopK:
        """Return the best synthetic image of each of T training images, k = 1; partners are columns.

        Args:
            train_keys: T images that the generator was trained on.
        """

    @abstractmethod
    def best_of_columns(self, train_keys: Sequence[str]) -> Iterator[TopK]:
        """Yield the best training image of each synthetic image, k = 1, for some columns at a time, in order.

        Args:
            train_keys: T images that the generator was trained on; only these are partners, by their place in this list.
        """

    def best(self, train_keys: Sequence[str]) -> tuple[TopK, TopK]:
        """Return the best partner of each training image and of each synthetic one, k = 1, all in memory.

        Args:
            train_keys: T images that the generator was trained on; only these are partners of synthetic images.

        Returns:
            For each of the T training images the best column; for each of the S synthetic images the best of the T.
        """
        of_rows, parts = self.best_of_rows(train_keys), list(self.best_of_columns(train_keys))
        scores, partners = (
            np.concatenate([np.zeros((0, 1), kind), *(getattr(part, name) for part in parts)])
            for name, kind in (("scores", np.float32), ("partners", np.int64))
        )
        return of_rows, TopK(scores, partners)

    @abstractmethod
    def groups(self, train_keys: Sequence[str]) -> Iterator[Iterable[PairBlock]]:
        """Yield all pairs of training images with known scores, in groups of blocks.

        A group can be gone through several times, and holds the same pairs whatever the size of its blocks.
        """

    def blocks(self, train_keys: Sequence[str]) -> Iterator[PairBlock]:
        """Yield all pairs of training images with known scores, in blocks."""
        for group in self.groups(train_keys):
            yield from group


@dataclass(frozen=True)
class ScoreMatrix(Scores):
    """Dense matrix of all scores.

    Attributes:
        scores: float32 (R, S), [i, j] is real i against synthetic j; may be memory-mapped.
    """

    scores: np.ndarray

    def _at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return self.scores[rows, columns]

    def best_of_rows(self, train_keys: Sequence[str]) -> TopK:
        """Search all scores of training images; see `Scores.best_of_rows`."""
        best = TopK.empty(len(train_keys), 1)
        for tile in self._tiles(train_keys):
            update_rows(best, tile)
        return best

    def best_of_columns(self, train_keys: Sequence[str]) -> Iterator[TopK]:
        """Search all scores of training images; see `Scores.best_of_columns`."""
        for tile in self._tiles(train_keys):
            best = TopK.empty(tile.scores.shape[1], 1)
            update_columns(best, Tile(0, 0, tile.scores))
            yield best

    def groups(self, train_keys: Sequence[str]) -> Iterator[Iterable[PairBlock]]:
        """Yield all pairs of training images; a group is one block of columns."""
        for tile in self._tiles(train_keys):
            row, column = np.indices(tile.scores.shape)
            yield [PairBlock(row.ravel(), column.ravel() + tile.first_column, tile.scores.ravel())]

    def _tiles(self, train_keys: Sequence[str]) -> Iterator[Tile]:
        rows = self.rows(train_keys)
        step = max(1, _BLOCK // max(1, len(rows)))
        for start in range(0, len(self.synth_keys), step):
            yield Tile(0, start, self.scores[rows, start : start + step])


def look_up(keys: Sequence[str], index: dict[str, int], side: str) -> np.ndarray:
    """Look up the indices of keys.

    Args:
        keys: N keys.
        index: index by key.
        side: "real" or "synthetic", for the message.

    Returns:
        int64 (N,).

    Raises:
        DataError: if a key is not in the index.
    """
    absent = [key for key in keys if key not in index]
    if absent:
        raise DataError(
            f"{len(absent)} of {len(keys)} {side} images are not among the scores, first {absent[0]!r}; "
            "score them too or remove these rows"
        )
    return np.array([index[key] for key in keys], dtype=np.int64)
