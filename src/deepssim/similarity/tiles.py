"""Compute all scores between two sets tile by tile, within a memory limit.

A metric defines how items are prepared and how prepared items are compared (`Comparison`). From that, the functions here
and in topk.py compute the dense matrix, the best of each row and column, or the scores of a list of pairs. The size of a
tile affects only the use of memory.

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
_STEP = 64  # columns of a tile are a multiple of this, the number of images that compiled loops compare at once
_MAX_ROWS, _MAX_COLUMNS = 4096, 2048  # larger tiles are not faster, and progress would be shown in large steps
_BASELINE = 0.45 * GIGABYTE  # memory of Python, numerical libraries and compiled loops before any image is read


class Comparison(Protocol):
    """Two sets of items (images or embeddings) and a metric that compares them.

    Attributes:
        shape: numbers of real and synthetic items, (R, S).
        bytes_per_item: memory of a prepared item, including that needed to prepare it.
        bytes_held: memory of the items before they are prepared.
    """

    shape: tuple[int, int]
    bytes_per_item: int
    bytes_held: int

    def prepare_rows(self, rows: Any) -> Any:
        """Prepare some real items, given by a slice or an increasing index array, for comparison."""

    def prepare_columns(self, columns: Any) -> Any:
        """Prepare some synthetic items in the same way."""

    def compare(self, rows: Any, columns: Any) -> np.ndarray:
        """Score all pairs of prepared items; a score must not depend on the other items in the tile.

        Args:
            rows, columns: r real and s synthetic prepared items.

        Returns:
            float32 (r, s); the next call may overwrite the array.
        """

    def compare_pairs(self, rows: Any, columns: Any, row_of: np.ndarray, column_of: np.ndarray) -> np.ndarray:
        """Score a list of pairs; bitwise equal to the entries of `compare`.

        Args:
            rows, columns: prepared items.
            row_of, column_of: integer (N,), indices into them of each pair.

        Returns:
            float32 (N,).
        """


@runtime_checkable
class FusedComparison(Comparison, Protocol):
    """A comparison that can process scores while they are in the CPU's cache."""

    def compare_into(self, rows: Any, columns: Any, scores: np.ndarray) -> None:
        """Write the scores of all pairs into a part of a matrix.

        Args:
            rows, columns: r real and s synthetic prepared items.
            scores: float32 (r, s), filled in place.
        """

    def enter_columns(self, rows: Any, columns: Any, first_row: int, best: Any) -> None:
        """Update the top-k lists of the columns with the scores of all pairs.

        Args:
            rows, columns: r real and s synthetic prepared items.
            first_row: index of the first row in the matrix.
            best: `topk.TopK` of the s columns, updated in place.
        """


@dataclass(frozen=True)
class PreparedTile:
    """Prepared items of consecutive rows and columns; `place` is their position in the matrix."""

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
        """Rows and columns of the tile in the matrix."""
        rows, columns = self.scores.shape
        return (
            slice(self.first_row, self.first_row + rows),
            slice(self.first_column, self.first_column + columns),
        )


def tile_shape(comparison: Comparison, max_memory_gb: float) -> tuple[int, int]:
    """Choose the number of rows and columns of a tile so that prepared items and scores fit into memory.

    Args:
        comparison: the two sets.
        max_memory_gb: memory limit of the process.

    Raises:
        ConfigError: if the smallest tile does not fit.
    """
    available = _available(comparison, max_memory_gb)
    rows, columns = comparison.shape
    item = comparison.bytes_per_item
    tile_rows = int(min(rows, _MAX_ROWS, available / 3 // item))
    # A score takes four bytes in the tile and up to four more when it is processed.
    tile_columns = int(min(_MAX_COLUMNS, available / 2 / (item + 8 * max(tile_rows, 1)) // _STEP * _STEP))
    if rows and columns and (tile_rows < 1 or tile_columns < _STEP):
        least = (_BASELINE + comparison.bytes_held + 3 * _STEP * (item + 8)) / GIGABYTE
        raise ConfigError(
            f"max_memory_gb {max_memory_gb:g} is too little for items of {item:,} bytes; set it to "
            f"{math.ceil(least * 100) / 100:g} or more (in a config: similarity.max_memory_gb)"
        )
    return tile_rows, tile_columns


def _available(comparison: Comparison, max_memory_gb: float) -> float:
    """Return the bytes available for prepared items and scores."""
    return max_memory_gb * GIGABYTE - _BASELINE - comparison.bytes_held


def prepared_tiles(comparison: Comparison, *, max_memory_gb: float) -> Iterator[PreparedTile]:
    """Yield the prepared items tile by tile: column tiles in order and, within each, row tiles in order.

    Args:
        comparison: the two sets.
        max_memory_gb: memory limit of the process.

    Raises:
        ConfigError: if the smallest tile does not fit into memory.
        DataError: if an item cannot be compared.
    """
    rows, columns = comparison.shape
    tile_rows, tile_columns = tile_shape(comparison, max_memory_gb)
    if not rows or not columns:
        return
    parts = [slice(first, min(rows, first + tile_rows)) for first in range(0, rows, tile_rows)]
    # Rows are needed for every column tile; they are kept if all of them fit into the third of memory meant for rows.
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
    """Yield all scores tile by tile, in the order of `prepared_tiles`; a tile is valid until the next one is requested.

    Args:
        comparison: the two sets.
        max_memory_gb: memory limit of the process.

    Raises:
        ConfigError, DataError: as `prepared_tiles`.
    """
    for part in prepared_tiles(comparison, max_memory_gb=max_memory_gb):
        rows, columns = part.place
        yield Tile(rows.start, columns.start, comparison.compare(part.rows, part.columns))


def all_scores(comparison: Comparison, *, max_memory_gb: float = 2.0) -> np.ndarray:
    """Compute the dense matrix.

    Args:
        comparison: the two sets.
        max_memory_gb: memory limit, not counting the result.

    Returns:
        float32 (R, S).
    """
    scores = np.empty(comparison.shape, np.float32)
    for part in prepared_tiles(comparison, max_memory_gb=max_memory_gb):
        if isinstance(comparison, FusedComparison):
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
        max_memory_gb: memory limit.

    Returns:
        float32 (N,).
    """
    scores = np.empty(len(rows), np.float32)
    order = np.lexsort((columns, rows))
    # A chunk of n pairs needs at most n items of each side.
    size = max(1, sum(tile_shape(comparison, max_memory_gb)) // 2)
    for start in tqdm(range(0, len(order), size), desc="scoring pairs", disable=None):
        chunk = order[start : start + size]
        row_items, row_of = np.unique(rows[chunk], return_inverse=True)
        column_items, column_of = np.unique(columns[chunk], return_inverse=True)
        scores[chunk] = comparison.compare_pairs(
            comparison.prepare_rows(row_items), comparison.prepare_columns(column_items), row_of, column_of
        )
    return scores
