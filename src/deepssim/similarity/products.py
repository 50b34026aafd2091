"""Products of embedding matrices, reproducible to the last bit.

Every entry is one chain of multiply-add operations from the first feature to the last. It is therefore the same in any
tile, in any shard, with any number of threads and in a list of pairs. General matrix libraries do not promise this: their
order of summation changes with the shape of the matrices and with the position of the entry.

Both factors lie in blocks of 64 vectors, one vector per lane. A block of the product, 64 x 64, stays in the first-level
cache while it is summed, and is written out or searched from there. Four rows and four features are processed at a time,
so that a value loaded into a register is used several times (register blocking: Goto & van de Geijn 2008,
doi:10.1145/1356052.1356053).

Not here: normalising embeddings (embedding_scores.py), lists of the highest scores (topk.py).
"""

from dataclasses import dataclass

import numpy as np
from numba import prange

from deepssim.runtime.compilation import compiled
from deepssim.similarity.lanes import LANES
from deepssim.similarity.topk import TopK, enter_lines

_FEATURES = 4  # processed between loading and storing a sum
_ONE = np.float32(1)


@dataclass(frozen=True)
class VectorBlocks:
    """Vectors in lanes, arranged like the images of `lanes.in_lanes`.

    Attributes:
        values: float32 (blocks, D, 64), contiguous and finite; unused lanes of the last block are zero.
        count: number of vectors.
    """

    values: np.ndarray
    count: int

    @classmethod
    def empty(cls, count: int, features: int) -> "VectorBlocks":
        """Allocate memory for vectors, which is not initialised."""
        return cls(np.empty((-(-count // LANES), features, LANES), np.float32), count)


def multiply(rows: VectorBlocks, columns: VectorBlocks, out: np.ndarray) -> None:
    """Write the products of all pairs of vectors, clipped to -1 to 1.

    Args:
        rows: r vectors of D values.
        columns: s vectors of D values.
        out: float32 (r, s); may be part of a larger matrix.
    """
    _multiply(rows.values, columns.values, out)


def enter_products(rows: VectorBlocks, columns: VectorBlocks, first_row: int, best: TopK) -> None:
    """Update the top-k lists of the columns with the products of all pairs, without storing these.

    Args:
        rows: r vectors of D values.
        columns: s vectors of D values.
        first_row: index of the first row; rows have to come in increasing order.
        best: lists of the s columns, changed in place.
    """
    _enter(rows.values, columns.values, rows.count, first_row, best.scores, best.partners)


def multiply_pairs(rows: VectorBlocks, columns: VectorBlocks, row_of: np.ndarray, column_of: np.ndarray) -> np.ndarray:
    """Multiply vectors `row_of[n]` and `column_of[n]` for every n.

    Args:
        rows: r vectors of D values.
        columns: s vectors of D values.
        row_of: integer (N,), 0 to r - 1.
        column_of: integer (N,), 0 to s - 1.

    Returns:
        float32 (N,), -1 to 1, equal to the entries that `multiply` writes.
    """
    products = np.empty(len(row_of), np.float32)
    left, right = _first_values(rows, row_of), _first_values(columns, column_of)
    _multiply_pairs(rows.values.reshape(-1), columns.values.reshape(-1), left, right, rows.values.shape[1], products)
    return products


def _first_values(vectors: VectorBlocks, chosen: np.ndarray) -> np.ndarray:
    """Return where the first values of some vectors are in the flat array; the next values follow every 64 places."""
    block, lane = np.divmod(chosen, LANES)
    return block * (vectors.values.shape[1] * LANES) + lane


@compiled(parallel=True)
def _multiply(rows: np.ndarray, columns: np.ndarray, out: np.ndarray) -> None:
    for column in prange(len(columns)):
        tile = np.empty((LANES, LANES), np.float32)
        left = column * LANES
        width = min(LANES, out.shape[1] - left)
        for row in range(len(rows)):
            _multiply_block(rows[row], columns[column], tile)
            top = row * LANES
            for line in range(min(LANES, len(out) - top)):
                out[top + line, left : left + width] = tile[line, :width]


@compiled(parallel=True)
def _enter(
    rows: np.ndarray, columns: np.ndarray, count: int, first_row: int, scores: np.ndarray, partners: np.ndarray
) -> None:
    for column in prange(len(columns)):
        tile = np.empty((LANES, LANES), np.float32)
        part = slice(column * LANES, (column + 1) * LANES)
        best, of_best = scores[part], partners[part]
        least = best[:, -1].copy()
        for row in range(len(rows)):
            _multiply_block(rows[row], columns[column], tile)
            top = row * LANES
            enter_lines(tile[: min(LANES, count - top), : len(best)], first_row + top, least, best, of_best)


# `contract` lets a product and a sum become one instruction, which rounds once. It permits no other change, in particular
# no other order of summation. The two functions below have to be compiled with the same flag, or their results differ.


@compiled(fastmath={"contract"})
def _multiply_block(rows: np.ndarray, columns: np.ndarray, tile: np.ndarray) -> None:
    """Multiply 64 rows, (D, 64), by 64 columns, (D, 64), and write the products, clipped to -1 to 1, to (64, 64)."""
    # Flat arrays and constant bounds let the compiler see which addresses are distinct, and vectorise over lanes.
    left, right, sums = rows.reshape(-1), columns.reshape(-1), tile.reshape(-1)
    sums[:] = 0
    whole = len(columns) // _FEATURES * _FEATURES
    for feature in range(0, whole, _FEATURES):
        factors = left[feature * LANES : (feature + _FEATURES) * LANES]
        values = right[feature * LANES : (feature + _FEATURES) * LANES]
        for row in range(0, LANES, 4):
            for lane in range(LANES):
                place = row * LANES + lane
                first, second = sums[place], sums[place + LANES]
                third, fourth = sums[place + 2 * LANES], sums[place + 3 * LANES]
                for step in range(_FEATURES):
                    value = values[step * LANES + lane]
                    first += factors[step * LANES + row] * value
                    second += factors[step * LANES + row + 1] * value
                    third += factors[step * LANES + row + 2] * value
                    fourth += factors[step * LANES + row + 3] * value
                sums[place], sums[place + LANES] = first, second
                sums[place + 2 * LANES], sums[place + 3 * LANES] = third, fourth
    for feature in range(whole, len(columns)):
        for row in range(LANES):
            for lane in range(LANES):
                sums[row * LANES + lane] += left[feature * LANES + row] * right[feature * LANES + lane]
    for place in range(len(sums)):
        sums[place] = min(max(sums[place], -_ONE), _ONE)


@compiled(parallel=True, fastmath={"contract"})
def _multiply_pairs(
    rows: np.ndarray,
    columns: np.ndarray,
    row_start: np.ndarray,
    column_start: np.ndarray,
    features: int,
    out: np.ndarray,
) -> None:
    """Multiply pairs of vectors whose first values are at `row_start` and `column_start` of the flat arrays."""
    for block in prange(-(-len(out) // LANES)):
        part = slice(block * LANES, (block + 1) * LANES)
        left, right, products = row_start[part], column_start[part], out[part]
        # 64 pairs are summed side by side, because the compiler may split a sum over the features of one pair into
        # products and additions, which rounds twice.
        sums = np.zeros(LANES, np.float32)
        for feature in range(features):
            for pair in range(len(products)):
                sums[pair] += rows[left[pair] + feature * LANES] * columns[right[pair] + feature * LANES]
        for pair in range(len(products)):
            products[pair] = min(max(sums[pair], -_ONE), _ONE)
