"""The loop over all pairs of images that ssim.py scores.

Four real images meet 16 synthetic ones at a time. What a window adds up stays in registers (simd.py), and what is loaded
serves several pairs: a pixel of a real image 16, one of a synthetic image four. Bands of rows are short enough for the second
level of the CPU's cache to keep those of the synthetic images while all real images pass.

Sums of products of 8-bit pixels over 49 pixels are whole numbers below 2^24, hence exact in float32. So is their covariance,
nearly, which is the difference of large numbers: the mean of the real window is split into a multiple of 1/4, whose product
with the sum of the other window is exact as well, and a remainder of at most 1/8, for which rounding does not matter.

Not here: features of single images, what the score means (ssim.py); volumes (ssim_volumes.py).
"""

from typing import Any

import numpy as np
from numba import prange

from deepssim.runtime.compilation import compiled
from deepssim.similarity.simd import ONE, VECTOR, load, multiply_add, spread, store
from deepssim.similarity.ssim_constants import K1, K2, WINDOW

_HEIGHT, _HEIGHT_WIDE = 4, 2  # real images that are compared at once; more would not fit into the registers
_ARRANGED = 8e6  # bytes of real images that are arranged at once, so that they stay in the third level of the cache
_AREA = WINDOW**2
_BAND = 24  # rows of windows
_SAMPLE = _AREA * (_AREA - 1)  # covariances are those of a sample
_FIELDS = 4  # numbers per window of a real image


def parts_in_groups(count: int, size: tuple[int, ...], wide: bool) -> list[tuple[slice, int]]:
    """Divide real images into parts that are arranged at once, each with the number of images in its groups.

    Args:
        count: images.
        size: height and width of an image.
        wide: compute in float64.
    """
    height = _HEIGHT_WIDE if wide else _HEIGHT
    item = size[0] * size[1] * (1 + _FIELDS) * (8 if wide else 4)
    step = max(1, int(_ARRANGED / item / height)) * height
    whole = count // height * height  # the few images that are left are compared one by one
    parts = [(slice(first, min(whole, first + step)), height) for first in range(0, whole, step)]
    return parts + ([(slice(whole, count), 1)] if whole < count else [])


@compiled(parallel=True)
def arrange_rows(
    pixels: np.ndarray, sums: np.ndarray, means: np.ndarray, variances: np.ndarray, height: int, real: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Interleave the features of `height` real images at a time, so that the loop reads them in order.

    Args:
        pixels, sums, means, variances: as in `ssim.SsimFeatures`, N images.
        height: images in a group; N is a multiple of it.
        real: floating point type of the result.

    Returns:
        Pixels, flat (groups, H, W, height); and of each window, flat (groups, H - 6, W - 6, 4, height): minus the mean of its
        pixels in two parts, the mean and the variance of the z-scored window.
    """
    count, rows, columns = sums.shape
    groups = count // height
    of_pixels = np.empty((groups, pixels.shape[1], pixels.shape[2], height), real)
    of_windows = np.empty((groups, rows, columns, _FIELDS, height), real)
    for n in prange(count):
        group, place = n // height, n % height
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                of_pixels[group, y, x, place] = pixels[n, y, x]
        for y in range(rows):
            for x in range(columns):
                total = np.float64(sums[n, y, x])
                coarse = np.rint(total / _AREA * 4) / 4
                of_windows[group, y, x, 0, place] = -coarse
                of_windows[group, y, x, 1, place] = -(total - _AREA * coarse) / _AREA
                of_windows[group, y, x, 2, place] = means[n, y, x]
                of_windows[group, y, x, 3, place] = variances[n, y, x]
    return of_pixels.ravel(), of_windows.ravel()


@compiled(parallel=True)
def score_all_pairs(  # type: ignore[no-untyped-def]
    group, pixels, windows, factors, ranges,
    lane_pixels, lane_sums, lane_means, lane_variances, lane_factors, lane_ranges, size, scores,
) -> None:  # fmt: skip
    """Score all pairs of groups of real images and blocks of 16 synthetic ones.

    Args:
        group: a tuple as long as there are real images in a group; its values do not matter.
        pixels, windows: of `arrange_rows`; their type is that of all arithmetic but the sum over rows.
        factors, ranges: of the real images, float64.
        lane_pixels, lane_sums, lane_means, lane_variances: of the synthetic images, flat, from `lanes.in_lanes` with 16 lanes.
        lane_factors, lane_ranges: of the synthetic images, float64, one per lane.
        size: height and width of an image.
        scores: float32 (real images, lanes), filled in place.
    """
    height, rows, columns = len(group), size[0] - WINDOW + 1, size[1] - WINDOW + 1
    groups = len(factors) // height
    for block in prange(len(lane_factors) // VECTOR):
        lanes = slice(block * VECTOR, (block + 1) * VECTOR)
        strip = aligned(np.empty((size[1] * height + 1) * VECTOR, pixels.dtype))
        constants, line = np.empty(3 * height * VECTOR, pixels.dtype), np.empty(height * VECTOR, pixels.dtype)
        totals = np.zeros((groups, height * VECTOR))
        for first in range(0, rows, _BAND):
            for n in range(groups):
                part = slice(n * height, (n + 1) * height)
                _set_constants(factors[part], ranges[part], lane_factors[lanes], lane_ranges[lanes], constants)
                _fill_strip(group, pixels, lane_pixels, n, block, first, size, strip)
                for top in range(first, min(rows, first + _BAND)):
                    _score_row(
                        group, pixels, windows, lane_pixels, lane_sums, lane_means, lane_variances,
                        n, block, top, size, constants, strip, line,
                    )  # fmt: skip
                    for place in range(height * VECTOR):
                        totals[n, place] += line[place]
        for n in range(groups * height):
            for lane in range(VECTOR):
                total = totals[n // height, n % height * VECTOR + lane]
                scores[n, block * VECTOR + lane] = total / (rows * columns)


@compiled()
def aligned(values: np.ndarray) -> np.ndarray:
    """Return all but the last vector of a flat array, from the first address that is a multiple of 64 bytes."""
    skipped = -values.ctypes.data % 64 // values.itemsize
    return values[skipped : skipped + len(values) - VECTOR]


@compiled()
def _set_constants(  # type: ignore[no-untyped-def]
    factors, ranges, lane_factors, lane_ranges, constants
) -> None:
    """Fill both constants of SSIM, and the factor from sums of products to twice the covariance, for each pair."""
    pairs = len(factors) * VECTOR
    for n in range(len(factors)):
        for lane in range(VECTOR):
            span, place = max(ranges[n], lane_ranges[lane]), n * VECTOR + lane
            constants[place], constants[pairs + place] = (K1 * span) ** 2, (K2 * span) ** 2
            constants[2 * pairs + place] = 2 * factors[n] * lane_factors[lane] * _AREA / _SAMPLE


@compiled()
def _fill_strip(group, pixels, lane_pixels, n, block, first, size, strip) -> None:  # type: ignore[no-untyped-def]
    """Sum the products of pixels over the first seven rows of a band, for each column."""
    height = len(group)
    strip[:] = 0
    for y in range(first, first + WINDOW):
        own, other = (n * size[0] + y) * size[1], (block * size[0] + y) * size[1]
        for x in range(size[1]):
            value, lanes = spread(pixels, (own + x) * height, group), load(lane_pixels, (other + x) * VECTOR, ONE)
            place = x * height * VECTOR
            store(strip, place, multiply_add(value, lanes, load(strip, place, group)))


@compiled()
def _next_sums(group, pixels, lane_pixels, own, other, down, x, sums):  # type: ignore[no-untyped-def]
    """Return the sums of products of a column for the next row of windows: with the pixel below, without the topmost."""
    new, new_lanes = (own + down + x) * len(group), (other + down + x) * VECTOR
    added = multiply_add(spread(pixels, new, group), load(lane_pixels, new_lanes, ONE), sums)
    old, old_lanes = spread(pixels, (own + x) * len(group), group), load(lane_pixels, (other + x) * VECTOR, ONE)
    return multiply_add(old, -old_lanes, added)


@compiled()
def _score_row(  # type: ignore[no-untyped-def]
    group, pixels, windows, lane_pixels, lane_sums, lane_means, lane_variances,
    n, block, top, size, constants, strip, line,
) -> None:  # fmt: skip
    """Sum the scores of a row of windows into `line`, and move the strip down by a row."""
    vectors = len(group) * VECTOR
    c1, c2 = load(constants, 0, group), load(constants, vectors, group)
    scale = load(constants, 2 * vectors, group)
    rows, columns = size[0] - WINDOW + 1, size[1] - WINDOW + 1
    own, other = (n * size[0] + top) * size[1], (block * size[0] + top) * size[1]
    down = min(WINDOW, size[0] - 1 - top) * size[1]  # below the last row, the strip is not needed any more
    own_window, other_window = (n * rows + top) * columns, (block * rows + top) * columns
    window, total = load(strip, 0, group), c1 - c1
    for x in range(1, WINDOW - 1):
        window = window + load(strip, x * vectors, group)
    for x in range(columns):
        products = window + load(strip, (x + WINDOW - 1) * vectors, group)
        leaving = load(strip, x * vectors, group)
        window = products - leaving
        store(strip, x * vectors, _next_sums(group, pixels, lane_pixels, own, other, down, x, leaving))
        values, lanes = (own_window + x) * _FIELDS * len(group), (other_window + x) * VECTOR
        sums, mean = load(lane_sums, lanes, ONE), load(lane_means, lanes, ONE)
        own_mean = spread(windows, values + 2 * len(group), group)
        covariance = multiply_add(spread(windows, values, group), sums, products)
        covariance = multiply_add(spread(windows, values + len(group), group), sums, covariance)
        over = multiply_add(own_mean, mean + mean, c1) * multiply_add(covariance, scale, c2)
        variances = spread(windows, values + 3 * len(group), group) + load(lane_variances, lanes, ONE)
        under = multiply_add(own_mean, own_mean, mean * mean + c1) * (variances + c2)
        total = total + over / under
    for x in range(columns, size[1]):
        left = load(strip, x * vectors, group)
        store(strip, x * vectors, _next_sums(group, pixels, lane_pixels, own, other, down, x, left))
    store(line, 0, total)
