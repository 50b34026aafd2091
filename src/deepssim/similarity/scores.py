"""Scores of one metric between real and synthetic images, and the questions that later steps ask of them.

Two kinds answer the same questions (`Scores`): the whole matrix, or, where that is too large, the best of each image and
some pairs. Questions: what a list of pairs scored, the best partner of each image, and pairs to sample from.

Not here: their files (matrices.py), computing scores (ssim.py, fsim.py, embedding_scores.py).
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

_BLOCK = 4_000_000  # scores looked at together


class PairBlock(NamedTuple):
    """Pairs with their scores: integer row (of the rows asked for) and column, float32 score, (N,) each."""

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
        """Return the row numbers of real keys.

        Raises:
            DataError: if a key is not among the scores.
        """
        return look_up(real_keys, self._rows, "real")

    def columns(self, synth_keys: Sequence[str]) -> np.ndarray:
        """Return the column numbers of synthetic keys.

        Raises:
            DataError: if a key is not among the scores.
        """
        return look_up(synth_keys, self._columns, "synthetic")

    def pair_scores(self, real_keys: Sequence[str], synth_keys: Sequence[str]) -> np.ndarray:
        """Return the scores of N pairs, float64 (N,).

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
            train_keys: T images that the generator was trained on; synthetic images find their partners among them.

        Returns:
            For the T training images the best columns, for the S synthetic ones the best of the T.
        """

    @abstractmethod
    def blocks(self, train_keys: Sequence[str]) -> Iterator[PairBlock]:
        """Yield the pairs of training images whose scores are known, in blocks of bounded size."""


@dataclass(frozen=True)
class ScoreMatrix(Scores):
    """All scores.

    Attributes:
        scores: float32 (R, S), [i, j] is real i against synthetic j; read from its file where it is used.
    """

    scores: np.ndarray

    def _at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return self.scores[rows, columns]

    def best(self, train_keys: Sequence[str]) -> tuple[TopK, TopK]:
        """Go through all scores of training images."""
        rows, columns = TopK.empty(len(train_keys), 1), TopK.empty(len(self.synth_keys), 1)
        for tile in self._tiles(train_keys):
            update_rows(rows, tile)
            update_columns(columns, tile)
        return rows, columns

    def blocks(self, train_keys: Sequence[str]) -> Iterator[PairBlock]:
        """Yield all pairs of training images, a few columns at a time."""
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
    """The scores that evaluation needs, where the whole matrix would be too large.

    Attributes:
        of_rows: best columns of each of the R real images.
        of_columns: best rows of each synthetic image, among the generator's training images only.
        pairs: `row * S + column` of further pairs (labelled ones, and some of each column drawn at random), increasing.
        pair_values: their scores, float32.
        train_images: how many images the generator was trained on.
        top_k: the k that was asked for; lists are shorter where there are fewer partners.
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
                f"{pair[1]!r}; make it again with these labelled pairs, or the whole matrix (similarity.layout: dense)"
            )
        return scores[places]

    def best(self, train_keys: Sequence[str]) -> tuple[TopK, TopK]:
        """Look at the best ones kept.

        Raises:
            DataError: if a key is not among the generator's training images that the lists were made for.
        """
        place = np.full(len(self.real_keys), -1)
        place[self.rows(train_keys)] = np.arange(len(train_keys))
        partners = place[self.of_columns.partners[:, :1]]
        if (partners < 0).any() or self.train_images != len(train_keys):
            raise DataError(
                f"{self.metric}: the top-k file was made for {self.train_images} training images, not these "
                f"{len(train_keys)}; make it again"
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
    """Return the places of keys in an index; `side` is real or synthetic, for the message.

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
