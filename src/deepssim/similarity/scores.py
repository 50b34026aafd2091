"""Scores of one metric between real and synthetic images, and queries on them.

Two classes implement the same interface (`Scores`): the dense matrix and, if that is too large, the best partners of each
image and some other pairs. Queries: scores of given pairs, the best partner of each image, and all known pairs.

Not here: score files (matrices.py), computing scores (ssim.py, fsim.py, embedding_scores.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from deepssim.errors import DataError
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
        synth_keys: S keys of the columns.
        metric: name of the metric.
    """

    real_keys: list[str]
    synth_keys: list[str]
    metric: str

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.real_keys)}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {key: column for column, key in enumerate(self.synth_keys)}

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
        return look_up(synth_keys, self._columns, "synthetic")

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
    def best(self, train_keys: Sequence[str]) -> tuple[TopK, TopK]:
        """Return the best partner of each training image and of each synthetic one, k = 1.

        Args:
            train_keys: T images that the generator was trained on; only these are partners of synthetic images.

        Returns:
            For each of the T training images the best column; for each of the S synthetic images the best of the T.
        """

    @abstractmethod
    def blocks(self, train_keys: Sequence[str]) -> Iterator[PairBlock]:
        """Yield all pairs of training images with known scores, in blocks."""


@dataclass(frozen=True)
class ScoreMatrix(Scores):
    """Dense matrix of all scores.

    Attributes:
        scores: float32 (R, S), [i, j] is real i against synthetic j; may be memory-mapped.
    """

    scores: np.ndarray

    def _at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return self.scores[rows, columns]

    def best(self, train_keys: Sequence[str]) -> tuple[TopK, TopK]:
        """Search all scores of training images; see `Scores.best`."""
        rows, columns = TopK.empty(len(train_keys), 1), TopK.empty(len(self.synth_keys), 1)
        for tile in self._tiles(train_keys):
            update_rows(rows, tile)
            update_columns(columns, tile)
        return rows, columns

    def blocks(self, train_keys: Sequence[str]) -> Iterator[PairBlock]:
        """Yield all pairs of training images, block by block of columns."""
        for tile in self._tiles(train_keys):
            row, column = np.indices(tile.scores.shape)
            yield PairBlock(row.ravel(), column.ravel() + tile.first_column, tile.scores.ravel())

    def _tiles(self, train_keys: Sequence[str]) -> Iterator[Tile]:
        rows = self.rows(train_keys)
        step = max(1, _BLOCK // max(1, len(rows)))
        for start in range(0, len(self.synth_keys), step):
            yield Tile(0, start, self.scores[rows, start : start + step])


@dataclass(frozen=True)
class TopScores(Scores):
    """The scores that the evaluation needs, for sizes at which the dense matrix would be too large.

    Attributes:
        of_rows: best columns of each of the R real images.
        of_columns: best rows of each synthetic image, among the generator's training images only.
        pairs: int64 (P,), sorted codes `row * S + column` of other pairs: labelled ones, and random ones of each column.
        pair_values: float32 (P,), their scores.
        train_images: number of images that the generator was trained on.
        top_k: requested k; lists are shorter if there are fewer partners.
    """

    of_rows: TopK
    of_columns: TopK
    pairs: np.ndarray
    pair_values: np.ndarray
    train_images: int
    top_k: int

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.synth_keys)
        rows, columns = np.arange(len(self.real_keys)), np.arange(count)
        codes = np.concatenate(
            [
                self.pairs,
                (rows[:, None] * count + self.of_rows.partners).ravel(),
                (self.of_columns.partners * count + columns[:, None]).ravel(),
            ]
        )
        scores = np.concatenate([self.pair_values, self.of_rows.scores.ravel(), self.of_columns.scores.ravel()])
        codes, first = np.unique(codes, return_index=True)
        return codes, scores[first]

    def _at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        codes, scores = self._known
        wanted = rows * len(self.synth_keys) + columns
        places = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        absent = np.flatnonzero(codes[places] != wanted)
        if absent.size:
            pair = self.real_keys[rows[absent[0]]], self.synth_keys[columns[absent[0]]]
            raise DataError(
                f"{self.metric}: {absent.size} of {len(rows)} pairs are not in the top-k file, first {pair[0]!r} and "
                f"{pair[1]!r}; recompute it with these labelled pairs, or use the dense matrix (similarity.layout: dense)"
            )
        return scores[places]

    def best(self, train_keys: Sequence[str]) -> tuple[TopK, TopK]:
        """Return the first entries of the lists; see `Scores.best`.

        Raises:
            DataError: if the lists were computed for other training images.
        """
        place = np.full(len(self.real_keys), -1)
        place[self.rows(train_keys)] = np.arange(len(train_keys))
        partners = place[self.of_columns.partners[:, :1]]
        if (partners < 0).any() or self.train_images != len(train_keys):
            raise DataError(
                f"{self.metric}: the top-k file was computed for {self.train_images} training images, not these "
                f"{len(train_keys)}; rerun the step that writes it"
            )
        rows = self.rows(train_keys)
        return (
            TopK(self.of_rows.scores[rows, :1], self.of_rows.partners[rows, :1]),
            TopK(self.of_columns.scores[:, :1], partners),
        )

    def blocks(self, train_keys: Sequence[str]) -> Iterator[PairBlock]:
        """Yield the pairs of training images that the file holds."""
        codes, scores = self._known
        place = np.full(len(self.real_keys), -1)
        place[self.rows(train_keys)] = np.arange(len(train_keys))
        rows, columns = place[codes // len(self.synth_keys)], codes % len(self.synth_keys)
        inside = rows >= 0
        yield PairBlock(rows[inside], columns[inside], scores[inside])


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
