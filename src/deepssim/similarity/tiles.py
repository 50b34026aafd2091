"""Go through all scores of two sets in tiles, within a given amount of memory.

A metric says how to prepare items and how to compare prepared ones (`Comparison`); the functions here do the rest: the
whole matrix, or the best of each row and column (topk.py), or the scores of a list of pairs. A tile's size decides how
much memory is used and nothing else.

Not here: the metrics (ssim.py, fsim.py, embedding_scores.py), files (matrices.py).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

from deepssim.errors import ConfigError

GIGABYTE = 10**9
_STEP = 64  # columns of a tile are a multiple of this, since engines work on blocks of columns
_MOST_ROWS, _MOST_COLUMNS = 4096, 2048  # more gain nothing, and progress would come in large steps
_PROGRAM = 0.45 * GIGABYTE  # what Python, the numerical libraries and compiled loops take before any image is read


class Comparison(Protocol):
    """Two sets of items and how a metric compares them.

    Attributes:
        shape: numbers of real and synthetic items, (R, S).
        bytes_per_item: memory that a prepared item takes, with what is needed to prepare it.
        bytes_held: memory that the items take before they are prepared.
    """

    shape: tuple[int, int]
    bytes_per_item: int
    bytes_held: int

    def prepare_rows(self, rows: Any) -> Any:
        """Compute what scores need of some real items, given by a slice or an increasing index array."""

    def prepare_columns(self, columns: Any) -> Any:
        """Do the same for synthetic items."""

    def compare(self, rows: Any, columns: Any) -> np.ndarray:
        """Score all pairs of prepared items: float32 (r, s).

        A score must not depend on what else is in the tile. The array may be used again by the next call.
        """

    def compare_pairs(self, rows: Any, columns: Any, row_of: np.ndarray, column_of: np.ndarray) -> np.ndarray:
        """Score pair n of prepared items `row_of[n]` and `column_of[n]`: float32 (N,)."""


@runtime_checkable
class Direct(Comparison, Protocol):
    """A comparison that can put scores to use while they are in the processor's cache."""

    def compare_into(self, rows: Any, columns: Any, scores: np.ndarray) -> None:
        """Write the scores of all pairs of prepared items into a part of a matrix, float32 (r, s)."""

    def enter_columns(self, rows: Any, columns: Any, first_row: int, best: Any) -> None:
        """Enter the scores of all pairs into `topk.TopK` lists of the columns; `first_row` is the number of the first row."""


@dataclass(frozen=True)
class PreparedTile:
    """Prepared items of consecutive rows and columns, in numbers `place`."""

    place: tuple[slice, slice]
    rows: Any
    columns: Any


@dataclass(frozen=True)
class Tile:
    """Scores of consecutive rows and columns: float32 (r, s) from `first_row`, `first_column`."""

    first_row: int
    first_column: int
    scores: np.ndarray

    @property
    def place(self) -> tuple[slice, slice]:
        """Where the tile lies in the matrix."""
        rows, columns = self.scores.shape
        return (
            slice(self.first_row, self.first_row + rows),
            slice(self.first_column, self.first_column + columns),
        )


def tile_shape(comparison: Comparison, max_memory_gb: float) -> tuple[int, int]:
    """Choose rows and columns of a tile so that its prepared items and scores fit into the memory.

    Raises:
        ConfigError: if not even the smallest tile fits.
    """
    available = _available(comparison, max_memory_gb)
    rows, columns = comparison.shape
    item = comparison.bytes_per_item
    tile_rows = int(min(rows, _MOST_ROWS, available / 3 // item))
    # A score takes four bytes in the tile and up to four in what is done with it.
    tile_columns = int(min(_MOST_COLUMNS, available / 2 / (item + 8 * max(tile_rows, 1)) // _STEP * _STEP))
    if rows and columns and (tile_rows < 1 or tile_columns < _STEP):
        least = (_PROGRAM + comparison.bytes_held + 3 * _STEP * (item + 8)) / GIGABYTE
        raise ConfigError(
            f"similarity.max_memory_gb {max_memory_gb:g} is too little for items of {item:,} bytes; "
            f"set it to {math.ceil(least * 100) / 100:g} or more"
        )
    return tile_rows, tile_columns


def _available(comparison: Comparison, max_memory_gb: float) -> float:
    """Return the bytes that are left for prepared items and scores."""
    return max_memory_gb * GIGABYTE - _PROGRAM - comparison.bytes_held


def prepared_tiles(comparison: Comparison, *, max_memory_gb: float) -> Iterator[PreparedTile]:
    """Yield what all scores need tile by tile: column tiles in order and, within each, row tiles in order.

    Raises:
        ConfigError: if not even the smallest tile fits into the memory.
        DataError: if an item cannot be compared.
    """
    rows, columns = comparison.shape
    tile_rows, tile_columns = tile_shape(comparison, max_memory_gb)
    if not rows or not columns:
        return
    parts = [slice(first, min(rows, first + tile_rows)) for first in range(0, rows, tile_rows)]
    # Rows are needed again for every column tile; they stay prepared if they take no more than their third.
    kept: dict[int, Any] | None = None
    if rows * comparison.bytes_per_item <= _available(comparison, max_memory_gb) / 3:
        kept = {part.start: comparison.prepare_rows(part) for part in parts}
    with tqdm(total=rows * columns, desc="scoring", unit="pair", unit_scale=True, disable=None) as progress:
        for first_column in range(0, columns, tile_columns):
            chosen = slice(first_column, min(columns, first_column + tile_columns))
            prepared = comparison.prepare_columns(chosen)
            for part in parts:
                of_rows = comparison.prepare_rows(part) if kept is None else kept[part.start]
                yield PreparedTile((part, chosen), of_rows, prepared)
                progress.update((part.stop - part.start) * (chosen.stop - chosen.start))


def score_tiles(comparison: Comparison, *, max_memory_gb: float) -> Iterator[Tile]:
    """Yield all scores tile by tile, in the order of `prepared_tiles`, which says what it raises.

    A tile's scores are there until the next tile is asked for.
    """
    for part in prepared_tiles(comparison, max_memory_gb=max_memory_gb):
        rows, columns = part.place
        yield Tile(rows.start, columns.start, comparison.compare(part.rows, part.columns))


def all_scores(comparison: Comparison, *, max_memory_gb: float = 2.0) -> np.ndarray:
    """Return the whole matrix, float32 (R, S); the memory is that of the computation, without the result."""
    scores = np.empty(comparison.shape, np.float32)
    for part in prepared_tiles(comparison, max_memory_gb=max_memory_gb):
        if isinstance(comparison, Direct):
            comparison.compare_into(part.rows, part.columns, scores[part.place])
        else:
            scores[part.place] = comparison.compare(part.rows, part.columns)
    return scores


def pair_scores(
    comparison: Comparison, rows: np.ndarray, columns: np.ndarray, *, max_memory_gb: float = 2.0
) -> np.ndarray:
    """Score a list of pairs without the matrix.

    Args:
        comparison: the two sets.
        rows: integer (N,), real items.
        columns: integer (N,), synthetic items.
        max_memory_gb: bound of memory.

    Returns:
        float32 (N,).
    """
    sum_of_tile = sum(tile_shape(comparison, max_memory_gb))
    scores = np.empty(len(rows), np.float32)
    order = np.lexsort((columns, rows))
    # A chunk of n pairs needs at most n items of each side.
    size = max(1, sum_of_tile // 2)
    for start in tqdm(range(0, len(order), size), desc="scoring pairs", disable=None):
        chunk = order[start : start + size]
        row_items, row_of = np.unique(rows[chunk], return_inverse=True)
        column_items, column_of = np.unique(columns[chunk], return_inverse=True)
        scores[chunk] = comparison.compare_pairs(
            comparison.prepare_rows(row_items), comparison.prepare_columns(column_items), row_of, column_of
        )
    return scores
