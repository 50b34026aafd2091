"""Find the best partners of each image and the scores of some pairs: from estimates where that is safe, else from all pairs.

Not here: the estimates (screening.py), files (matrices.py).
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from deepssim.similarity.screening import Screener, Wanted, screening_of
from deepssim.similarity.search_record import SearchRecord
from deepssim.similarity.tiles import Comparison, Tile, score_tiles
from deepssim.similarity.topk import TopK, update_columns, update_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """What is to be found among R real and S synthetic items.

    Attributes:
        top_k: length of the lists.
        train_rows: int64 (T,), increasing: rows among which the best partners of columns are chosen.
        pairs: int64 (P,), sorted codes `row * S + column` of pairs whose scores are wanted in any case.
        exact: compute all pairs.
        max_memory_gb: memory limit of the process.
        seed: the config's seed.
        threads: CPU threads.
    """

    top_k: int
    train_rows: np.ndarray
    pairs: np.ndarray
    exact: bool
    max_memory_gb: float
    seed: int
    threads: int


@dataclass(frozen=True)
class Found:
    """Lists of rows and columns; those of columns name training rows by their place among them.

    Attributes:
        of_rows, of_columns: best partners.
        scores: float32 (P,), of the pairs.
        record: how they were found.
    """

    of_rows: TopK
    of_columns: TopK
    scores: np.ndarray
    record: SearchRecord


def find_top(comparison: Comparison, search: Search, check: Callable[[Tile], None] = lambda tile: None) -> Found:
    """Find lists and scores.

    Args:
        comparison: real and synthetic items.
        search: what is to be found.
        check: looks at each tile of which all scores are computed, and raises an error if they cannot be used.
    """
    screening = None if search.exact else screening_of(comparison, search.max_memory_gb)
    rows, columns = comparison.shape
    if screening is not None:
        of_rows, of_columns = _empty(comparison, search)
        trained = np.zeros(rows, bool)
        trained[search.train_rows] = True
        wanted = Wanted(of_rows, of_columns, trained, search.pairs // columns, search.pairs % columns)
        screener = Screener(screening, wanted, search.seed)
        scores = _collect(screener.tiles(max_memory_gb=search.max_memory_gb), columns, search, of_rows, of_columns)
        if screener.kept_promise:
            return Found(of_rows, of_columns, scores, screener.record)
        logger.info("estimates do not help with these images, so all pairs are computed; they gave %s", screener.record)
    of_rows, of_columns = _empty(comparison, search)
    tiles = _checked(score_tiles(comparison, max_memory_gb=search.max_memory_gb), check)
    scores = _collect(tiles, columns, search, of_rows, of_columns)
    return Found(of_rows, of_columns, scores, SearchRecord(rows * columns, rows * columns))


def find_pairs_above(
    comparison: Comparison, limit: float, *, exact: bool = False, max_memory_gb: float = 2.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, SearchRecord]:
    """Find all pairs with at least some score: copies, if the limit is that of copies.

    Args:
        comparison: real and synthetic items.
        limit: the least score.
        exact: compute all pairs.
        max_memory_gb: memory limit, not counting the result.
        seed: chooses the pairs that show how far estimates are wrong.

    Returns:
        Rows and columns, int64 (N,), scores, float32 (N,), in increasing order of rows, then columns; and how they were found.
    """
    screening = None if exact else screening_of(comparison, max_memory_gb)
    rows, columns = comparison.shape
    if screening is not None:
        none = np.empty(0, np.int64)
        screener = Screener(screening, Wanted(None, None, np.ones(rows, bool), none, none, limit), seed)
        found = _above(screener.tiles(max_memory_gb=max_memory_gb), limit, columns)
        if screener.kept_promise:
            return *found, screener.record
        logger.info("estimates do not help with these images, so all pairs are computed; they gave %s", screener.record)
    found = _above(score_tiles(comparison, max_memory_gb=max_memory_gb), limit, columns)
    return *found, SearchRecord(rows * columns, rows * columns)


def _above(tiles: Iterable[Tile], limit: float, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    codes, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for tile in tiles:
        row, column = np.nonzero(tile.scores >= np.float32(limit))
        codes.append((row + tile.first_row) * columns + column + tile.first_column)
        scores.append(tile.scores[row, column])
    code = np.concatenate(codes)
    order = np.argsort(code)
    return code[order] // columns, code[order] % columns, np.concatenate(scores)[order]


def _checked(tiles: Iterator[Tile], check: Callable[[Tile], None]) -> Iterator[Tile]:
    for tile in tiles:
        check(tile)
        yield tile


def _empty(comparison: Comparison, search: Search) -> tuple[TopK, TopK]:
    rows, columns = comparison.shape
    return (
        TopK.empty(rows, min(search.top_k, columns)),
        TopK.empty(columns, min(search.top_k, len(search.train_rows))),
    )


def _collect(tiles: Iterator[Tile], columns: int, search: Search, of_rows: TopK, of_columns: TopK) -> np.ndarray:
    """Enter all tiles into the lists and return the scores of the pairs."""
    pair_rows, pair_columns = search.pairs // columns, search.pairs % columns
    scores = np.full(len(search.pairs), np.nan, np.float32)
    for tile in tiles:
        update_rows(of_rows, tile, search.threads)
        row_part, column_part = tile.place
        inside = np.flatnonzero(
            (pair_rows >= row_part.start) & (pair_rows < row_part.stop)
            & (pair_columns >= column_part.start) & (pair_columns < column_part.stop)
        )  # fmt: skip
        scores[inside] = tile.scores[pair_rows[inside] - row_part.start, pair_columns[inside] - column_part.start]
        chosen = search.train_rows[(search.train_rows >= row_part.start) & (search.train_rows < row_part.stop)]
        first = int(np.searchsorted(search.train_rows, row_part.start))
        part = tile.scores if len(chosen) == len(tile.scores) else tile.scores[chosen - row_part.start]
        update_columns(of_columns, Tile(first, tile.first_column, part), search.threads)
    return scores
