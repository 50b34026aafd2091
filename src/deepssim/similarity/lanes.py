"""Interleave images pixel by pixel, so that one CPU instruction (SIMD) works on many pairs.

Not here: the metrics computed on them (ssim.py, fsim.py, embedding_scores.py).
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numba
import numpy as np

from deepssim.runtime.compilation import compiled

Features = TypeVar("Features")

LANES = 64  # images per block: several registers on any CPU, so that the overhead of the loop is negligible
_CACHE_LINE = 64  # bytes


def in_lanes(values: np.ndarray, lanes: int = LANES) -> np.ndarray:
    """Move the images of an array to its last axis, in blocks.

    Args:
        values: shape (N, ...), any dtype.
        lanes: images in a block.

    Returns:
        Shape (blocks, ..., lanes), same dtype, contiguous, from a multiple of 64 bytes; lanes beyond N are zero.
    """
    count, *rest = values.shape
    flat = np.ascontiguousarray(values).reshape(count, -1)
    blocks = _aligned((-(-count // lanes), flat.shape[1], lanes), values.dtype)
    _interleave(flat, blocks)
    return blocks.reshape(len(blocks), *rest, lanes)


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Allocate an array that begins where a line of the CPU's cache does, so that no register is loaded from two lines."""
    memory = np.empty(math.prod(shape) * dtype.itemsize + _CACHE_LINE, np.uint8)
    skipped = -memory.ctypes.data % _CACHE_LINE
    return memory[skipped : skipped + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


@compiled(parallel=True)
def _interleave(values: np.ndarray, blocks: np.ndarray) -> None:
    count, pixels = values.shape
    lanes = blocks.shape[2]
    for block in numba.prange(len(blocks)):
        first = block * lanes
        filled = min(lanes, count - first)
        for pixel in range(pixels):
            for lane in range(filled):
                blocks[block, pixel, lane] = values[first + lane, pixel]
            for lane in range(filled, lanes):
                blocks[block, pixel, lane] = 0


@contextmanager
def numba_threads(threads: int) -> Iterator[None]:
    """Set the threads of compiled loops, at most those that numba was started with; torch keeps its own setting."""
    torch = sys.modules.get("torch")  # not imported by stages without a network
    of_torch = torch.get_num_threads() if torch else 0  # read first, because starting numba's threads changes it
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(threads, before)))
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if torch:
            # Numba changes OpenMP's thread count for torch, too, which would change the order of summation there.
            torch.set_num_threads(of_torch)


def compare_by_row(
    compare: Callable[[Features, Features], np.ndarray],
    rows: Features,
    columns: Features,
    row_of: np.ndarray,
    column_of: np.ndarray,
) -> np.ndarray:
    """Score a list of pairs by comparing each distinct row with its columns.

    Args:
        compare: function that scores all pairs of two sets of features, float32 (r, s).
        rows, columns: features, dataclasses of arrays with one row per image.
        row_of, column_of: integer (N,), indices of the images of each pair.

    Returns:
        float32 (N,).
    """
    scores = np.empty(len(row_of), np.float32)
    order = np.argsort(row_of, kind="stable")
    found, starts = np.unique(row_of[order], return_index=True)
    for row, pairs in zip(found, np.split(order, starts[1:]), strict=True):
        scores[pairs] = compare(_take(rows, [row]), _take(columns, column_of[pairs]))[0]
    return scores


def _take(features: Features, chosen: Any) -> Features:
    return type(features)(**{name: values[chosen] for name, values in vars(features).items()})
