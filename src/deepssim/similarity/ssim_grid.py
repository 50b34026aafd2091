"""Estimate SSIM from a grid of its windows: every fifth row, every third column.

SSIM is the mean of a map with one value per window, and neighbouring windows share most of their pixels. Fifteen times fewer
windows therefore estimate the mean with a standard deviation of about 0.003 on MR slices, whatever the images are, near copies
among them: every value of the grid is exact, and only what lies between is interpolated. The steps have no divisor in
common with 8 or with each other, so that blocks of JPEG and the checkerboards of decoders meet the grid in all phases.

Not here: exact scores (ssim.py, ssim_pairs.py), how far an estimate may be wrong (margins.py).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange

from deepssim.runtime.compilation import compiled
from deepssim.similarity.lanes import in_lanes, numba_threads
from deepssim.similarity.simd import ONE, VECTOR, load, multiply_add, spread, store
from deepssim.similarity.ssim_constants import K1, K2, WINDOW
from deepssim.similarity.ssim_kernel import aligned

ROW_STEP, COLUMN_STEP = 5, 3
_HEIGHT = 5  # real images that are compared at once
_ARRANGED = 8e6  # bytes of real images that are arranged at once
_BAND = 13  # rows of the grid that are compared before the next real images
_BLOCKS = 4  # times 16 synthetic images meet real ones while these are in the second level of the cache
_AREA = WINDOW**2
_FIELDS = 4  # numbers per window of a real image


@dataclass(frozen=True)
class GridFeatures:
    """Features of N images on a grid of h x w windows.

    Attributes:
        pixels: uint8 (N, H, W).
        sums: float32 (N, h, w), sums of the pixels in each window.
        means, variances: float32 (N, h, w), of the z-scored windows.
        factors, ranges: float64 (N,); see `ssim.SsimFeatures`.
    """

    pixels: np.ndarray
    sums: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    factors: np.ndarray
    ranges: np.ndarray


def grid_axis(windows: int, step: int) -> tuple[int, np.ndarray]:
    """Place a grid along one axis.

    Args:
        windows: number of windows along the axis.
        step: distance of windows of the grid.

    Returns:
        First window of the grid, and the weights of its windows, float64 (n,), with sum 1: the mean of all windows if those
        between two are interpolated linearly and those at the borders equal the nearest.
    """
    last = (windows - 1) // step
    origin = (windows - 1 - last * step) // 2
    place = np.clip((np.arange(windows) - origin) / step, 0, last)
    below = np.minimum(place.astype(int), max(0, last - 1))
    weights = np.bincount(below, 1 - (place - below), last + 1)
    weights += np.bincount(np.minimum(below + 1, last), place - below, last + 1)
    return origin, weights / windows


def on_grid(features: Any) -> GridFeatures:
    """Keep of `ssim.SsimFeatures` of 8-bit images what the estimate needs."""
    rows, columns = features.sums.shape[1:]
    top, left = grid_axis(rows, ROW_STEP)[0], grid_axis(columns, COLUMN_STEP)[0]

    def chosen(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values[:, top::ROW_STEP, left::COLUMN_STEP], np.float32)

    return GridFeatures(
        features.pixels.astype(np.uint8), chosen(features.sums), chosen(features.means), chosen(features.variances),
        features.factors, features.ranges,
    )  # fmt: skip


def estimate_all_pairs(rows: GridFeatures, columns: GridFeatures, threads: int) -> np.ndarray:
    """Estimate SSIM of all pairs.

    Args:
        rows, columns: features of r real and s synthetic images; the range of the real image scales the constants.
        threads: CPU threads; the result does not depend on it.

    Returns:
        float32 (r, s).
    """
    count, size = len(columns.pixels), columns.pixels.shape[1:]
    axes = [grid_axis(side - WINDOW + 1, step) for side, step in zip(size, (ROW_STEP, COLUMN_STEP), strict=True)]
    origin, shape = tuple(axis[0] for axis in axes), rows.sums.shape[1:]
    row_weights, column_weights = axes[0][1], axes[1][1].astype(np.float32)
    means = columns.means
    moments = (columns.sums, 2 * means, means * means, columns.variances)
    estimates = np.empty((len(rows.pixels), count), np.float32)
    with numba_threads(min(threads, -(-count // (_BLOCKS * VECTOR)))):
        lanes = [in_lanes(values, VECTOR).ravel() for values in (columns.pixels, *moments)]
        factors = in_lanes(columns.factors, VECTOR).ravel()
        whole = len(rows.pixels) // _HEIGHT * _HEIGHT
        step = max(1, int(_ARRANGED / (5 * size[0] * size[1] * _HEIGHT))) * _HEIGHT
        parts = [(slice(first, min(whole, first + step)), _HEIGHT) for first in range(0, whole, step)]
        for part, height in parts + ([(slice(whole, None), 1)] if whole < len(rows.pixels) else []):
            arranged = _arrange(*(values[part] for values in vars(rows).values()), height)
            of_rows = *arranged, rows.factors[part], rows.ranges[part]
            filled = np.empty((len(of_rows[2]), len(factors)), np.float32)
            _estimate(
                (0,) * height, *of_rows, *lanes, factors, size, origin, shape, row_weights, column_weights, filled
            )
            estimates[part] = filled[:, :count]
    return estimates


@compiled(parallel=True)
def _arrange(pixels, sums, means, variances, factors, ranges, height):  # type: ignore[no-untyped-def]
    """Interleave the features of `height` real images at a time; of a window: minus its mean of pixels, its mean, its
    mean squared plus C1, its variance plus C2."""
    count, rows, columns = sums.shape
    groups = count // height
    of_pixels = np.empty((groups, pixels.shape[1], pixels.shape[2], height), np.float32)
    of_windows = np.empty((groups, rows, columns, _FIELDS, height), np.float32)
    for n in prange(count):
        group, place = n // height, n % height
        for y in range(pixels.shape[1]):
            for x in range(pixels.shape[2]):
                of_pixels[group, y, x, place] = pixels[n, y, x]
        c1, c2 = (K1 * ranges[n]) ** 2, (K2 * ranges[n]) ** 2
        for y in range(rows):
            for x in range(columns):
                of_windows[group, y, x, 0, place] = -sums[n, y, x] / _AREA
                of_windows[group, y, x, 1, place] = means[n, y, x]
                of_windows[group, y, x, 2, place] = means[n, y, x] ** 2 + c1
                of_windows[group, y, x, 3, place] = variances[n, y, x] + c2
    return of_pixels.ravel(), of_windows.ravel()


@compiled(parallel=True)
def _estimate(  # type: ignore[no-untyped-def]
    group, pixels, windows, factors, ranges,
    lane_pixels, lane_sums, lane_means, lane_squares, lane_variances, lane_factors,
    size, origin, shape, row_weights, column_weights, estimates,
) -> None:  # fmt: skip
    """Estimate all pairs of groups of real images and blocks of 16 synthetic ones."""
    height, rows, columns = len(group), shape[0], shape[1]
    groups, blocks = len(factors) // height, len(lane_factors) // VECTOR
    vectors = height * VECTOR
    for task in prange(-(-blocks // _BLOCKS)):
        strip, line = aligned(np.empty((size[1] * height + 1) * VECTOR, np.float32)), np.empty(vectors, np.float32)
        constants, totals = np.empty(3 * vectors, np.float32), np.zeros((_BLOCKS, groups, vectors))
        first_block = task * _BLOCKS
        last_block = min(blocks, first_block + _BLOCKS)
        for first in range(0, rows, _BAND):
            for n in range(groups):
                for block in range(first_block, last_block):
                    _set_constants(factors, ranges, lane_factors, n * height, block * VECTOR, height, constants)
                    at = n * size[0] * size[1], block * size[0] * size[1]
                    corner = (origin[0] + first * ROW_STEP) * size[1] + origin[1]
                    _fill_strip(group, pixels, lane_pixels, at[0] + corner, at[1] + corner, size[1], origin[1], strip)
                    for y in range(first, min(rows, first + _BAND)):
                        corner = (origin[0] + y * ROW_STEP) * size[1] + origin[1]
                        _estimate_row(
                            group, pixels, windows, lane_pixels, lane_sums, lane_means, lane_squares, lane_variances,
                            at[0] + corner, at[1] + corner, (n * rows + y) * columns, (block * rows + y) * columns,
                            size[1], columns, constants, strip, column_weights, line,
                        )  # fmt: skip
                        for place in range(vectors):
                            totals[block - first_block, n, place] += row_weights[y] * line[place]
        for block in range(first_block, last_block):
            for row in range(groups * height):
                for lane in range(VECTOR):
                    total = totals[block - first_block, row // height, row % height * VECTOR + lane]
                    estimates[row, block * VECTOR + lane] = total


@compiled()
def _set_constants(factors, ranges, lane_factors, first, first_lane, height, constants) -> None:  # type: ignore[no-untyped-def]
    """Fill both constants of SSIM, and the factor from sums of products to twice the covariance, for each pair."""
    vectors = height * VECTOR
    for place in range(vectors):
        row, lane = first + place // VECTOR, first_lane + place % VECTOR
        constants[place], constants[vectors + place] = (K1 * ranges[row]) ** 2, (K2 * ranges[row]) ** 2
        constants[2 * vectors + place] = 2 * factors[row] * lane_factors[lane] / (_AREA - 1)


@compiled()
def _fill_strip(group, pixels, lane_pixels, own, other, width, left, strip) -> None:  # type: ignore[no-untyped-def]
    """Sum the products of the two rows of pixels above those that the first row of windows does not share."""
    vectors = len(group) * VECTOR
    strip[:] = 0
    for x in range(width - left):
        total = load(strip, x * vectors, group)
        for y in range(WINDOW - ROW_STEP):
            total = _products(group, pixels, lane_pixels, own + y * width + x, other + y * width + x, total)
        store(strip, x * vectors, total)


@compiled()
def _products(group, pixels, lane_pixels, own, other, total):  # type: ignore[no-untyped-def]
    """Add the products of one pixel."""
    return multiply_add(spread(pixels, own * len(group), group), load(lane_pixels, other * VECTOR, ONE), total)


@compiled()
def _column(group, pixels, lane_pixels, own, other, width, x, strip):  # type: ignore[no-untyped-def]
    """Return the sums of products over the seven pixels of a column; keep those that the next row of windows shares."""
    place = x * len(group) * VECTOR
    total = load(strip, place, group)
    for y in range(WINDOW - ROW_STEP, ROW_STEP):
        total = _products(group, pixels, lane_pixels, own + y * width + x, other + y * width + x, total)
    below = ROW_STEP * width + x
    shared = spread(pixels, (own + below) * len(group), group) * load(lane_pixels, (other + below) * VECTOR, ONE)
    for y in range(ROW_STEP + 1, WINDOW):
        shared = _products(group, pixels, lane_pixels, own + y * width + x, other + y * width + x, shared)
    store(strip, place, shared)
    return total + shared


@compiled()
def _rest(group, pixels, lane_pixels, own, other, width, first, total, strip):  # type: ignore[no-untyped-def]
    """Add two further columns to the first of three."""
    total = total + _column(group, pixels, lane_pixels, own, other, width, first + 1, strip)
    return total + _column(group, pixels, lane_pixels, own, other, width, first + 2, strip)


@compiled()
def _above(group, windows, lane_sums, lane_means, at, lanes, products, c1, c2, scale):  # type: ignore[no-untyped-def]
    """Return the numerators of a window."""
    values = at * _FIELDS * len(group)
    covariance = multiply_add(spread(windows, values, group), load(lane_sums, lanes * VECTOR, ONE), products)
    means = multiply_add(spread(windows, values + len(group), group), load(lane_means, lanes * VECTOR, ONE), c1)
    return means * multiply_add(covariance, scale, c2)


@compiled()
def _below(group, windows, lane_squares, lane_variances, at, lanes):  # type: ignore[no-untyped-def]
    """Return the denominators of a window."""
    values = at * _FIELDS * len(group)
    means = spread(windows, values + 2 * len(group), group) + load(lane_squares, lanes * VECTOR, ONE)
    return means * (spread(windows, values + 3 * len(group), group) + load(lane_variances, lanes * VECTOR, ONE))


@compiled()
def _estimate_row(  # type: ignore[no-untyped-def]
    group, pixels, windows, lane_pixels, lane_sums, lane_means, lane_squares, lane_variances,
    own, other, at, lanes, width, columns, constants, strip, weights, line,
) -> None:  # fmt: skip
    """Sum the weighted scores of a row of windows into `line`."""
    vectors = len(group) * VECTOR
    c1, c2 = load(constants, 0, group), load(constants, vectors, group)
    scale, total = load(constants, 2 * vectors, group), c1 - c1
    start = _column(group, pixels, lane_pixels, own, other, width, 0, strip)
    near = _rest(group, pixels, lane_pixels, own, other, width, 0, start, strip)
    start = _column(group, pixels, lane_pixels, own, other, width, COLUMN_STEP, strip)
    far = _rest(group, pixels, lane_pixels, own, other, width, COLUMN_STEP, start, strip)
    for x in range(columns):
        first = (x + 2) * COLUMN_STEP
        start = _column(group, pixels, lane_pixels, own, other, width, first, strip)
        above = _above(group, windows, lane_sums, lane_means, at + x, lanes + x, near + far + start, c1, c2, scale)
        below = _below(group, windows, lane_squares, lane_variances, at + x, lanes + x)
        total = multiply_add(spread(weights, x, ONE), above / below, total)
        if x + 1 < columns:
            near, far = far, _rest(group, pixels, lane_pixels, own, other, width, first, start, strip)
    store(line, 0, total)
