"""Products of float32 matrices whose entries are the same to the last bit wherever and with whatever they are computed.

Every entry is one chain of fused multiplications and additions from the first feature to the last. So it does not depend
on the tile, the shard, the number of threads or a library, and the scores of a list of pairs equal those of the matrix.
(Libraries for matrices add in an order that depends on the place in the matrix.)

The scheme is the usual one: rows and columns lie in panels, so that a small block of the result stays in registers while it
is added up. What a library cannot do is to go on with the block while it is in the cache; that is where the speed comes from.

Not here: what is multiplied (embedding_scores.py), how the best are kept (topk.py), single instructions (instructions.py).
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from deepssim.similarity.instructions import (
    COLUMNS,
    LANES,
    ROWS,
    finish_stores,
    multiply_add,
    multiply_block,
    store_past_caches,
)
from deepssim.similarity.topk import TopK, enter_lines

_CACHE = 2**19  # bytes of columns that a thread goes through all rows with; they stay in its second-level cache


@dataclass(frozen=True)
class Panels:
    """Vectors side by side.

    Attributes:
        values: float32 (panels, D, width), finite; the last panel is filled up.
        count: how many vectors there are.
    """

    values: np.ndarray
    count: int

    @classmethod
    def empty(cls, count: int, features: int, width: int) -> "Panels":
        """Return room for vectors, ROWS or COLUMNS of them in a panel."""
        shape = -(-count // width), features, width
        memory = np.empty(math.prod(shape) + 16, np.float32)
        start = (
            -(memory.ctypes.data // 4) % 16
        )  # where a cache line begins, since vectors of its length are faster there
        return cls(memory[start : start + math.prod(shape)].reshape(shape), count)


def multiply(rows: Panels, columns: Panels, out: np.ndarray, threads: int) -> None:
    """Write products, limited to -1 to 1, to `out`.

    Args:
        rows: r vectors in panels of ROWS.
        columns: s vectors in panels of COLUMNS.
        out: float32 (r, s); the values of a row lie beside each other.
        threads: among which the work is divided.
    """
    _multiply(rows.values, columns.values, out, _panels_at_once(columns, threads))


def enter_products(rows: Panels, columns: Panels, first: int, best: TopK, threads: int) -> None:
    """Enter products into the lists of their columns, without keeping them.

    Args:
        rows, columns, threads: as for `multiply`.
        first: number of the first row; rows must come in order.
        best: lists of the columns.
    """
    at_once = _panels_at_once(columns, threads)
    _enter(rows.values, columns.values, rows.count, first, best.scores, best.partners, at_once)


def multiply_pairs(rows: Panels, columns: Panels, row_of: np.ndarray, column_of: np.ndarray) -> np.ndarray:
    """Return the products of vectors `row_of[n]` and `column_of[n]`, the same as in a matrix: float32 (N,)."""
    out = np.empty(len(row_of), np.float32)
    _multiply_pairs(rows.values, columns.values, row_of, column_of, out)
    return out


@njit(parallel=True, cache=True)
def _multiply_pairs(
    rows: np.ndarray, columns: np.ndarray, row_of: np.ndarray, column_of: np.ndarray, out: np.ndarray
) -> None:
    for pair in prange(len(out)):
        row, column = rows[row_of[pair] // ROWS], columns[column_of[pair] // COLUMNS]
        left, right = row_of[pair] % ROWS, column_of[pair] % COLUMNS
        total = np.float32(0)
        for feature in range(len(row)):
            total = multiply_add(row[feature, left], column[feature, right], total)
        out[pair] = min(max(total, np.float32(-1)), np.float32(1))


def _panels_at_once(columns: Panels, threads: int) -> int:
    count, features, width = columns.values.shape
    return max(1, min(_CACHE // (features * width * 4), -(-count // threads)))


@njit(parallel=True, cache=True)
def _multiply(rows: np.ndarray, columns: np.ndarray, out: np.ndarray, at_once: int) -> None:
    for part in prange(-(-len(columns) // at_once)):
        chosen = columns[part * at_once : (part + 1) * at_once]
        lines = np.empty((ROWS, len(chosen) * COLUMNS), np.float32)
        left = part * at_once * COLUMNS
        for panel in range(len(rows)):
            _multiply_panel(rows[panel], chosen, lines)
            for row in range(min(ROWS, len(out) - panel * ROWS)):
                _copy_past_caches(lines[row], out[panel * ROWS + row, left : left + lines.shape[1]])
        finish_stores()


@njit(parallel=True, cache=True)
def _enter(
    rows: np.ndarray,
    columns: np.ndarray,
    count: int,
    first: int,
    scores: np.ndarray,
    partners: np.ndarray,
    at_once: int,
) -> None:
    for part in prange(-(-len(columns) // at_once)):
        chosen = columns[part * at_once : (part + 1) * at_once]
        lines = np.empty((ROWS, len(chosen) * COLUMNS), np.float32)
        left = part * at_once * COLUMNS
        best, of_best = scores[left : left + lines.shape[1]], partners[left : left + lines.shape[1]]
        least = best[:, -1].copy()
        for panel in range(len(rows)):
            _multiply_panel(rows[panel], chosen, lines)
            height = min(ROWS, count - panel * ROWS)
            enter_lines(lines[:height, : len(best)], first + panel * ROWS, least, best, of_best)


@njit(inline="always")
def _multiply_panel(row: np.ndarray, columns: np.ndarray, lines: np.ndarray) -> None:
    for panel in range(len(columns)):
        multiply_block(row, columns[panel], lines[:, panel * COLUMNS : (panel + 1) * COLUMNS])


@njit(inline="always")
def _copy_past_caches(source: np.ndarray, target: np.ndarray) -> None:
    """Copy as many values as `target` has: a result that is larger than the caches need not be read before it is written."""
    count = len(target)
    start = min(count, -(target.ctypes.data // 4) % LANES)
    stop = start + (count - start) // LANES * LANES
    target[:start] = source[:start]
    for place in range(start, stop, LANES):
        store_past_caches(source, target, place)
    target[stop:] = source[stop:count]
