"""The scores that are kept where the dense matrix would be too large: best partners, labelled pairs and random pairs.

What grows with the number of synthetic images stays in the file and is read block by block.

Not here: the file (matrices.py), joining the files of shards (gathering.py).
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from deepssim.errors import DataError
from deepssim.runtime.stored_arrays import StoredArray
from deepssim.similarity.scores import PairBlock, Scores
from deepssim.similarity.search_record import SearchRecord
from deepssim.similarity.topk import TopK

_BLOCK = 1_000_000  # pairs processed together
_CELLS = 2**16  # equal ranges of codes that pairs are counted in, so that they can be divided into blocks
_RECORD = np.dtype([("code", np.int64), ("score", np.float32)])


@dataclass(frozen=True)
class StoredTopK:
    """The best partners of N items, as `topk.TopK`, but in a file.

    Attributes:
        scores: float32 (N, k).
        partners: int64 (N, k).
    """

    scores: StoredArray
    partners: StoredArray


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
        record: how the scores were found; None if the file does not say so.
    """

    of_rows: TopK
    of_columns: TopK | StoredTopK
    pairs: np.ndarray | StoredArray
    pair_values: np.ndarray | StoredArray
    train_images: int
    top_k: int
    record: SearchRecord | None = None

    def column_lists(self) -> Iterator[tuple[int, TopK]]:
        """Yield the lists of some columns at a time, with the number of the first."""
        width = max(1, self.of_columns.scores.shape[1])
        for start in range(0, len(self.synth_keys), max(1, _BLOCK // width)):
            part = slice(start, start + max(1, _BLOCK // width))
            yield start, TopK(self.of_columns.scores[part], self.of_columns.partners[part])

    def pair_blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the codes of some pairs at a time, int64 (n,), with the place of the first."""
        for start in range(0, len(self.pairs), _BLOCK):
            yield start, self.pairs[start : start + _BLOCK]

    def _at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        wanted = rows * len(self.synth_keys) + columns
        scores = np.full(len(wanted), np.nan, np.float32)
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        for start, codes in self.pair_blocks():
            first, last = np.searchsorted(ascending, [codes[0], codes[-1] + 1])
            inside = order[first:last]
            places = np.searchsorted(codes, wanted[inside])
            known = codes[places] == wanted[inside]
            if known.any():
                scores[inside[known]] = self.pair_values[start : start + len(codes)][places[known]]
        _enter(scores, np.arange(len(wanted)), self.of_rows, rows, columns)
        for start, lists in self.column_lists():
            inside = np.flatnonzero(np.isnan(scores) & (columns >= start) & (columns < start + len(lists.scores)))
            _enter(scores, inside, lists, columns[inside] - start, rows[inside])
        absent = np.flatnonzero(np.isnan(scores))
        if absent.size:
            pair = self.real_keys[rows[absent[0]]], self.synth_keys[int(columns[absent[0]])]
            raise DataError(
                f"{self.metric}: {absent.size} of {len(rows)} pairs are not in the top-k file, first {pair[0]!r} and "
                f"{pair[1]!r}; recompute it with these labelled pairs, or use the dense matrix (similarity.layout: dense)"
            )
        return scores

    def best_of_rows(self, train_keys: Sequence[str]) -> TopK:
        """Return the first entries of the lists; see `Scores.best_of_rows`."""
        rows = self.rows(train_keys)
        return TopK(self.of_rows.scores[rows, :1], self.of_rows.partners[rows, :1])

    def best_of_columns(self, train_keys: Sequence[str]) -> Iterator[TopK]:
        """Yield the first entries of the lists; see `Scores.best_of_columns`.

        Raises:
            DataError: if the lists were computed for other training images.
        """
        place = self._places(train_keys)
        for _, lists in self.column_lists():
            partners = place[lists.partners[:, :1]]
            if (partners < 0).any() or self.train_images != len(train_keys):
                raise DataError(
                    f"{self.metric}: the top-k file was computed for {self.train_images} training images, not these "
                    f"{len(train_keys)}; rerun the step that writes it"
                )
            yield TopK(lists.scores[:, :1], partners)

    def groups(self, train_keys: Sequence[str]) -> Iterator[Iterable[PairBlock]]:
        """Yield the pairs of training images that the file holds, as one group in increasing order of rows, then columns."""
        yield _PairsOfRows(self._sorted, self._places(train_keys), len(self.synth_keys))

    @cached_property
    def _sorted(self) -> "_SortedPairs":
        return _SortedPairs(self)

    def _places(self, train_keys: Sequence[str]) -> np.ndarray:
        """Return the place of each real image among the training images, int64 (R,); -1 for others."""
        place = np.full(len(self.real_keys), -1)
        place[self.rows(train_keys)] = np.arange(len(train_keys))
        return place


def _enter(scores: np.ndarray, pairs: np.ndarray, lists: TopK, items: np.ndarray, partners: np.ndarray) -> None:
    """Enter the scores of those of some pairs that lists hold and that are not known yet.

    Args:
        scores: float32 (N,), NaN where it is not known; changed in place.
        pairs: int64 (n,), places in `scores`.
        lists: of items.
        items, partners: int64 (n,), of these pairs.
    """
    unknown = np.flatnonzero(np.isnan(scores[pairs]))
    pairs, items, partners = pairs[unknown], items[unknown], partners[unknown]
    held, place = np.nonzero(lists.partners[items] == partners[:, None])
    scores[pairs[held]] = lists.scores[items[held], place]


@dataclass(frozen=True)
class _PairsOfRows:
    """The pairs of training images among all pairs, block by block, as often as they are gone through."""

    pairs: "_SortedPairs"
    place: np.ndarray
    columns: int

    def __iter__(self) -> Iterator[PairBlock]:
        for codes, scores in self.pairs:
            rows = self.place[codes // self.columns]
            inside = rows >= 0
            yield PairBlock(rows[inside], codes[inside] % self.columns, scores[inside])


class _SortedPairs:
    """All pairs of a top-k file in increasing order of their codes, each once.

    The lists of columns are in another order. They are divided among ranges of codes in a temporary file, once; each range
    is then sorted in memory (a bucket sort on disk).
    """

    def __init__(self, found: TopScores) -> None:
        self._found, columns = found, len(found.synth_keys)
        rows = np.arange(len(found.real_keys))[:, None]
        codes = (rows * columns + found.of_rows.partners).ravel()
        order = np.argsort(codes, kind="stable")
        self._of_rows = codes[order], found.of_rows.scores.ravel()[order]
        self._cell = max(1, -(-len(rows) * columns // _CELLS))
        counts = [np.zeros(_CELLS, np.int64) for _ in range(3)]
        for _, codes in found.pair_blocks():
            counts[0] += self._cells(codes)
        counts[1] += self._cells(self._of_rows[0])
        for codes, _ in self._of_columns():
            counts[2] += self._cells(codes)
        total = np.sum(counts, axis=0)
        # Cells one after the other, until a range is full.
        self._range_of_cell = np.unique((np.cumsum(total) - total) // _BLOCK, return_inverse=True)[1]
        self._ends = [np.cumsum(np.bincount(self._range_of_cell, weights=part)).astype(np.int64) for part in counts]
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as this object)
        self._divide()

    def _cells(self, codes: np.ndarray) -> np.ndarray:
        return np.bincount(codes // self._cell, minlength=_CELLS)

    def _of_columns(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        count = len(self._found.synth_keys)
        for start, lists in self._found.column_lists():
            columns = np.arange(start, start + len(lists.scores))[:, None]
            yield (lists.partners * count + columns).ravel(), lists.scores.ravel()

    def _divide(self) -> None:
        """Write the pairs of the lists of columns to the file, those of a range of codes together."""
        starts = np.append(0, self._ends[2][:-1])
        for codes, scores in self._of_columns():
            ranges = self._range_of_cell[codes // self._cell]
            order = np.argsort(ranges, kind="stable")
            records = np.empty(len(codes), _RECORD)
            records["code"], records["score"] = codes[order], scores[order]
            counts = np.bincount(ranges, minlength=len(starts))
            for number, part in enumerate(np.split(records, np.cumsum(counts)[:-1])):
                os.pwrite(self._file.fileno(), part.tobytes(), int(starts[number]) * _RECORD.itemsize)
            starts += counts

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        starts = [np.append(0, ends[:-1]) for ends in self._ends]
        for number in range(len(starts[0])):
            pairs, of_rows, of_columns = (
                slice(int(start[number]), int(ends[number])) for start, ends in zip(starts, self._ends, strict=True)
            )
            size = _RECORD.itemsize
            content = os.pread(
                self._file.fileno(), (of_columns.stop - of_columns.start) * size, of_columns.start * size
            )
            records = np.frombuffer(content, _RECORD)
            codes = np.concatenate([self._found.pairs[pairs], self._of_rows[0][of_rows], records["code"]])
            scores = np.concatenate([self._found.pair_values[pairs], self._of_rows[1][of_rows], records["score"]])
            codes, first = np.unique(codes, return_index=True)
            yield codes, scores[first]
