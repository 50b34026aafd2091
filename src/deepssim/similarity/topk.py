"""The k highest scores of every row and every column, updated tile by tile.

The result is exact, equal to sorting the dense matrix. Among equal scores the lower index comes first, so the result does
not depend on tiles or shards. Once a list is full, its lowest score rejects nearly every later score, so the cost is about
one comparison per score.

Not here: tiles (tiles.py), files (matrices.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from deepssim.errors import DataError
from deepssim.runtime.compilation import compiled
from deepssim.similarity.lanes import numba_threads
from deepssim.similarity.tiles import Comparison, FusedComparison, Tile, prepared_tiles, score_tiles

_CHUNK = 256  # scores compared at a time, and columns per parallel task


@dataclass(frozen=True)
class TopK:
    """The best partners of N items, best first.

    Attributes:
        scores: float32 (N, k).
        partners: int64 (N, k), index of the partner.
    """

    scores: np.ndarray
    partners: np.ndarray

    @classmethod
    def empty(cls, count: int, k: int) -> "TopK":
        """Return empty lists, with scores of minus infinity and partners of -1.

        Args:
            count: number of items N.
            k: length of the lists.
        """
        return cls(np.full((count, k), -np.inf, np.float32), np.full((count, k), -1, np.int64))


def top_k(
    comparison: Comparison,
    k: int,
    *,
    max_memory_gb: float = 2.0,
    threads: int = 1,
    rows: bool = True,
    columns: bool = True,
) -> tuple[TopK | None, TopK | None]:
    """Find the k highest scores of each row, over columns, and of each column, over rows.

    Args:
        comparison: R real and S synthetic items.
        k: length of the lists; shorter if there are fewer partners.
        max_memory_gb: memory limit, not counting the result.
        threads: CPU threads.
        rows, columns: which lists to compute.

    Returns:
        Lists of the R rows and of the S columns; None if not requested.
    """
    count, other = comparison.shape
    best_of_rows = TopK.empty(count, min(k, other)) if rows else None
    best_of_columns = TopK.empty(other, min(k, count)) if columns else None
    if best_of_columns and not rows and isinstance(comparison, FusedComparison):
        for part in prepared_tiles(comparison, max_memory_gb=max_memory_gb):
            of_rows, of_columns = part.place
            lists = TopK(best_of_columns.scores[of_columns], best_of_columns.partners[of_columns])
            comparison.enter_columns(part.rows, part.columns, of_rows.start, lists)
        return None, best_of_columns
    for tile in score_tiles(comparison, max_memory_gb=max_memory_gb):
        if best_of_rows:
            update_rows(best_of_rows, tile, threads)
        if best_of_columns:
            update_columns(best_of_columns, tile, threads)
    return best_of_rows, best_of_columns


def update_rows(best: TopK, tile: Tile, threads: int = 1) -> None:
    """Update the lists of a tile's rows; tiles must come in increasing order of columns.

    Args:
        best: lists of all rows, updated in place.
        tile: scores of some rows and columns.
        threads: CPU threads.
    """
    rows, _ = tile.place
    with numba_threads(threads):
        _enter_rows(tile.scores, tile.first_column, best.scores[rows], best.partners[rows])


def update_columns(best: TopK, tile: Tile, threads: int = 1) -> None:
    """Update the lists of a tile's columns; tiles must come in increasing order of rows.

    Args:
        best: lists of all columns, updated in place.
        tile: scores of some rows and columns.
        threads: CPU threads.
    """
    _, columns = tile.place
    with numba_threads(threads):
        _enter_columns(tile.scores, tile.first_row, best.scores[columns], best.partners[columns])


def merge(parts: Sequence[TopK], k: int) -> TopK:
    """Merge top-k lists of the same items over disjoint sets of partners.

    Args:
        parts: lists, in increasing order of the partners.
        k: length of the merged lists.

    Raises:
        DataError: if the numbers of items differ.
    """
    if len({part.scores.shape[0] for part in parts}) != 1:
        raise DataError("top-k lists of different numbers of items cannot be merged; compute them from the same images")
    scores = np.concatenate([part.scores for part in parts], axis=1)
    partners = np.concatenate([part.partners for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return TopK(np.take_along_axis(scores, order, axis=1), np.take_along_axis(partners, order, axis=1))


@njit(inline="always")
def _insert(scores: np.ndarray, partners: np.ndarray, item: int, score: float, partner: int) -> None:
    place = scores.shape[1] - 1
    while place > 0 and scores[item, place - 1] < score:
        scores[item, place], partners[item, place] = scores[item, place - 1], partners[item, place - 1]
        place -= 1
    scores[item, place], partners[item, place] = score, partner


# Both loops first compare a run of scores without branches, so that the compiler vectorises it, and then visit the few
# groups of eight that have a score above the threshold.


@compiled(parallel=True)
def _enter_rows(tile: np.ndarray, first: int, scores: np.ndarray, partners: np.ndarray) -> None:
    rows, columns = tile.shape
    for row in prange(rows):
        above = np.zeros(_CHUNK, np.uint8)
        groups = above.view(np.uint64)
        for left in range(0, columns, _CHUNK):
            line = tile[row, left : min(columns, left + _CHUNK)]
            least = scores[row, -1]
            for place in range(len(line)):
                above[place] = line[place] > least
            for group in range((len(line) + 7) // 8):
                if groups[group]:
                    for place in range(group * 8, min(len(line), group * 8 + 8)):
                        if line[place] > scores[row, -1]:
                            _insert(scores, partners, row, line[place], first + left + place)


@compiled(parallel=True)
def _enter_columns(tile: np.ndarray, first: int, scores: np.ndarray, partners: np.ndarray) -> None:
    for chunk in prange(-(-tile.shape[1] // _CHUNK)):
        part = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
        least = scores[part, -1].copy()  # contiguous, like the scores of a row
        enter_lines(tile[:, part], first, least, scores[part], partners[part])


@njit(inline="always")
def enter_lines(lines: np.ndarray, first: int, least: np.ndarray, scores: np.ndarray, partners: np.ndarray) -> None:
    """Update the top-k lists of columns with some rows.

    Args:
        lines: float32 (r, s), scores of r rows.
        first: index of the first row.
        least: float32 (s,), lowest score of each list, updated in place.
        scores: float32 (s, k), updated in place.
        partners: int64 (s, k), updated in place.
    """
    above = np.zeros(-(-lines.shape[1] // 8) * 8, np.uint8)
    groups = above.view(np.uint64)
    for row in range(len(lines)):
        line = lines[row]
        for place in range(len(line)):
            above[place] = line[place] > least[place]
        for group in range(len(groups)):
            if groups[group]:
                for place in range(group * 8, min(len(line), group * 8 + 8)):
                    if line[place] > least[place]:
                        _insert(scores, partners, place, line[place], first + row)
                        least[place] = scores[place, -1]
