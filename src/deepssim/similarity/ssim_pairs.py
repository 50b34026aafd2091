"""Exact SSIM of a list of pairs, bit for bit that of the dense matrix (ssim.py).

One pair fills the registers on its own: its 16 lanes are 16 bands of rows, whose windows are compared at once. An image is
arranged for that once, not once per pair. While a pair is computed, the next one is fetched into the cache.

Not here: features of single images (ssim.py), which pairs are worth it (screening.py).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange

from deepssim.runtime.compilation import compiled
from deepssim.similarity.lanes import numba_threads
from deepssim.similarity.simd import ONE, VECTOR, load, multiply_add, prefetch, store
from deepssim.similarity.ssim_constants import K1, K2, WINDOW
from deepssim.similarity.ssim_kernel import aligned

_AREA = WINDOW**2
_SAMPLE = _AREA * (_AREA - 1)
_PER_TASK = 256  # pairs that a thread computes before it takes the next ones


@dataclass(frozen=True)
class BandedFeatures:
    """Features of N images, their rows divided into 16 bands of b rows of windows that overlap by six rows of pixels.

    Attributes:
        pixels: uint8 (N, b + 6, W, 16).
        sums: int16 (N, b, W - 6, 16).
        means, variances: float32 (N, b, W - 6, 16).
        factors, ranges: float64 (N,); see `ssim.SsimFeatures`.
    """

    pixels: np.ndarray
    sums: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    factors: np.ndarray
    ranges: np.ndarray


def in_bands(features: Any, threads: int) -> BandedFeatures:
    """Arrange `ssim.SsimFeatures` of 8-bit images.

    Args:
        features: of N images.
        threads: CPU threads.
    """
    rows = -(-features.sums.shape[1] // VECTOR)
    arranged = []
    with numba_threads(threads):
        for values, height, kind in (
            (features.pixels, rows + WINDOW - 1, np.uint8), (features.sums, rows, np.int16),
            (features.means, rows, np.float32), (features.variances, rows, np.float32),
        ):  # fmt: skip
            banded = np.empty((len(values), height, values.shape[2], VECTOR), kind)
            _arrange(values, rows, banded)
            arranged.append(banded)
    pixels, sums, means, variances = arranged
    return BandedFeatures(pixels, sums, means, variances, features.factors, features.ranges)


def score_pairs(
    rows: BandedFeatures, columns: BandedFeatures, row_of: np.ndarray, column_of: np.ndarray, windows: int, threads: int
) -> np.ndarray:
    """Compute exact SSIM of pairs.

    Args:
        rows, columns: of real and synthetic images; the range of the real image scales the constants.
        row_of, column_of: integer (N,), the images of each pair; fastest if sorted by rows.
        windows: rows of windows of an image.
        threads: CPU threads; the result does not depend on it.

    Returns:
        float32 (N,).
    """
    scores = np.empty(len(row_of), np.float32)
    with numba_threads(threads):
        of_rows, of_columns = (tuple(values.ravel() for values in vars(side).values()) for side in (rows, columns))
        _score(*of_rows, *of_columns[:5], row_of, column_of, *rows.sums.shape[1:3], windows, scores)
    return scores


@compiled(parallel=True)
def _arrange(values, rows, banded):  # type: ignore[no-untyped-def]
    """Copy row `lane * rows + y` of an image to row y of a lane; zero below the image."""
    for n in prange(len(values)):
        for y in range(banded.shape[1]):
            for lane in range(VECTOR):
                row = lane * rows + y
                for x in range(banded.shape[2]):
                    banded[n, y, x, lane] = values[n, row, x] if row < values.shape[1] else 0


@compiled(parallel=True)
def _score(  # type: ignore[no-untyped-def]
    pixels, sums, means, variances, factors, ranges,
    other_pixels, other_sums, other_means, other_variances, other_factors,
    row_of, column_of, rows, columns, windows, scores,
) -> None:  # fmt: skip
    """Score each pair; the sum of a row of windows is float32 and that of rows float64, in the order of the dense matrix."""
    tasks = -(-len(row_of) // _PER_TASK)
    width, field = columns + WINDOW - 1, rows * columns * VECTOR
    image = (rows + WINDOW - 1) * width * VECTOR
    for task in prange(tasks):
        strip = aligned(np.empty((width + 1) * VECTOR, np.float32))
        constants, lines = np.empty(3 * VECTOR, np.float32), np.empty(rows * VECTOR, np.float32)
        split, before = np.empty(2 * field, np.float32), -1
        for pair in range(task * _PER_TASK, min(len(row_of), (task + 1) * _PER_TASK)):
            row, column, following = row_of[pair], column_of[pair], column_of[min(pair + 1, len(row_of) - 1)]
            if row != before:
                _split_means(sums, row * field, split, field)
                before = row
            constants[:VECTOR], constants[VECTOR : 2 * VECTOR] = (K1 * ranges[row]) ** 2, (K2 * ranges[row]) ** 2
            constants[2 * VECTOR :] = 2 * factors[row] * other_factors[column] * _AREA / _SAMPLE
            _fill_strip(pixels, other_pixels, row * image, column * image, width, strip)
            for top in range(rows):
                _score_row(
                    pixels, split, field, means, variances, other_pixels, other_sums, other_means, other_variances,
                    row * image, row * field, column * image, column * field, following * image, following * field,
                    top, top + 1 < rows, columns, constants, strip, lines,
                )  # fmt: skip
            total = 0.0
            for y in range(windows):
                total += lines[y % rows * VECTOR + y // rows]
            scores[pair] = total / (windows * columns)


@compiled()
def _split_means(sums, first, split, field) -> None:  # type: ignore[no-untyped-def]
    """Split minus the mean of pixels of each window into a multiple of 1/4 and a remainder; see ssim_kernel.py."""
    for place in range(field):
        total = np.float64(sums[first + place])
        coarse = np.rint(total / _AREA * 4) / 4
        split[place] = -coarse
        split[field + place] = -(total - _AREA * coarse) / _AREA


@compiled()
def _fill_strip(pixels, other_pixels, own, other, width, strip) -> None:  # type: ignore[no-untyped-def]
    """Sum the products of pixels over the first seven rows of every band, for each column."""
    for x in range(width):
        total = load(pixels, own + x * VECTOR, ONE) * load(other_pixels, other + x * VECTOR, ONE)
        for y in range(1, WINDOW):
            place = (y * width + x) * VECTOR
            total = multiply_add(load(pixels, own + place, ONE), load(other_pixels, other + place, ONE), total)
        store(strip, x * VECTOR, total)


@compiled()
def _next_sums(pixels, other_pixels, own, other, place, down, sums):  # type: ignore[no-untyped-def]
    """Return the sums of products of a column for the next row of windows."""
    new = place + down
    added = multiply_add(load(pixels, own + new, ONE), load(other_pixels, other + new, ONE), sums)
    return multiply_add(load(pixels, own + place, ONE), -load(other_pixels, other + place, ONE), added)


@compiled()
def _score_row(  # type: ignore[no-untyped-def]
    pixels, split, field, means, variances, other_pixels, other_sums, other_means, other_variances,
    own, own_window, other, other_window, next_image, next_window,
    top, continues, columns, constants, strip, lines,
) -> None:  # fmt: skip
    """Sum the scores of a row of windows of every band, and move the strip down by a row."""
    width = columns + WINDOW - 1
    c1, c2 = load(constants, 0, ONE), load(constants, VECTOR, ONE)
    scale, down = load(constants, 2 * VECTOR, ONE), WINDOW * width * VECTOR
    window, total = load(strip, 0, ONE), c1 - c1
    for x in range(1, WINDOW - 1):
        window = window + load(strip, x * VECTOR, ONE)
    for x in range(columns):
        place, at = (top * width + x) * VECTOR, (top * columns + x) * VECTOR
        prefetch(other_means, next_window + at)
        prefetch(other_variances, next_window + at)
        if x % 2 == 0:
            prefetch(other_sums, next_window + at)
        if x % 4 == 0:
            prefetch(other_pixels, next_image + place)
        products = window + load(strip, (x + WINDOW - 1) * VECTOR, ONE)
        leaving = load(strip, x * VECTOR, ONE)
        window = products - leaving
        if continues:
            store(strip, x * VECTOR, _next_sums(pixels, other_pixels, own, other, place, down, leaving))
        sums, mean = load(other_sums, other_window + at, ONE), load(other_means, other_window + at, ONE)
        own_mean = load(means, own_window + at, ONE)
        covariance = multiply_add(load(split, at, ONE), sums, products)
        covariance = multiply_add(load(split, field + at, ONE), sums, covariance)
        over = multiply_add(own_mean, mean + mean, c1) * multiply_add(covariance, scale, c2)
        summed = load(variances, own_window + at, ONE) + load(other_variances, other_window + at, ONE)
        under = multiply_add(own_mean, own_mean, mean * mean + c1) * (summed + c2)
        total = total + over / under
    if continues:
        for x in range(columns, width):
            left, place = load(strip, x * VECTOR, ONE), (top * width + x) * VECTOR
            store(strip, x * VECTOR, _next_sums(pixels, other_pixels, own, other, place, down, left))
    store(lines, top * VECTOR, total)
