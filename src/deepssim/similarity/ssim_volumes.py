"""Exact SSIM of every real volume with every synthetic one: that of ssim.py with windows of 7x7x7 voxels.

The score is that of scikit-image's `structural_similarity` on z-scored volumes, with its defaults and the range of the real
volume as `data_range`. Window sums run along all three axes: over seven slices, then seven rows, then along the row, so that a
voxel takes two products instead of 343; black voxels take none.

Not here: images (ssim.py), tiles and memory (tiles.py).

Source: as of ssim.py.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import prange

from deepssim.runtime.compilation import compiled
from deepssim.similarity.lanes import LANES, in_lanes, numba_threads
from deepssim.similarity.ssim import SsimComparison, SsimFeatures
from deepssim.similarity.ssim_constants import K1, K2, WINDOW

_VOLUME = WINDOW**3
_SAMPLE = _VOLUME * (
    _VOLUME - 1
)  # covariances are those of a sample: 343 sum(xy) - sum(x) sum(y), divided by 343 * 342


class SsimVolumeComparison(SsimComparison):
    """SSIM between two packs of volumes of at least 7x7x7 voxels; arguments and methods as of `SsimComparison`."""

    _spatial_dims = 3
    _whole_sum = np.int32

    @staticmethod
    def _fill_moments(*features: np.ndarray) -> None:
        _fill_moments(*features)

    def compare(self, rows: SsimFeatures, columns: SsimFeatures) -> np.ndarray:
        """Score all pairs of prepared volumes.

        Args:
            rows, columns: features of r real and s synthetic volumes.

        Returns:
            float32 (r, s).
        """
        count = len(columns.pixels)
        with numba_threads(self.threads):
            lanes = {name: in_lanes(values) for name, values in vars(columns).items()}
            lanes["ranges"] *= (
                self.symmetric
            )  # lanes without a volume have factor and range 0; their scores are cut off
            scores = np.empty((len(rows.pixels), len(lanes["pixels"]) * LANES), np.float32)
            _kernel(self._wide)(*vars(rows).values(), *lanes.values(), scores)
        return scores[:, :count]


@compiled(parallel=True)
def _fill_moments(
    pixels: np.ndarray,
    sums: np.ndarray,
    means: np.ndarray,
    variances: np.ndarray,
    factors: np.ndarray,
    ranges: np.ndarray,
) -> None:
    """Compute all features except the voxels. Sums are float64, which is exact for integers."""
    count, depth, height, width = pixels.shape
    for n in prange(count):
        total, squares = 0.0, 0.0
        low, high = np.float64(pixels[n, 0, 0, 0]), np.float64(pixels[n, 0, 0, 0])
        for value in pixels[n].flat:
            total += np.float64(value)
            low, high = min(low, np.float64(value)), max(high, np.float64(value))
        mean = total / (depth * height * width)
        for value in pixels[n].flat:
            squares += (value - mean) ** 2
        factor = 1 / np.sqrt(squares / (depth * height * width))
        factors[n], ranges[n] = factor, (high - low) * factor
        slab, slab_squares = np.zeros((height, width)), np.zeros((height, width))  # sums over seven slices
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    new = np.float64(pixels[n, z, y, x])
                    old = np.float64(pixels[n, z - WINDOW, y, x]) if z >= WINDOW else 0.0
                    slab[y, x] += new - old
                    slab_squares[y, x] += new * new - old * old
            front = z - WINDOW + 1
            if front < 0:
                continue
            for top in range(height - WINDOW + 1):
                for left in range(width - WINDOW + 1):
                    first, second = 0.0, 0.0
                    for y in range(top, top + WINDOW):
                        for x in range(left, left + WINDOW):
                            first += slab[y, x]
                            second += slab_squares[y, x]
                    sums[n, front, top, left] = first
                    means[n, front, top, left] = (first / _VOLUME - mean) * factor
                    variances[n, front, top, left] = (_VOLUME * second - first * first) / _SAMPLE * factor * factor


@compiled()
def _add_slice(voxels: np.ndarray, lanes: np.ndarray, z: int, slab: np.ndarray) -> None:
    """Add the products of a slice to those of the slab, and take away those of the slice that leaves it."""
    height, width = slab.shape[:2]
    whole = slab.dtype.type
    for y in range(height):
        for x in range(width):
            new = whole(voxels[z, y, x] * _VOLUME)
            if new != 0:
                for lane in range(LANES):
                    slab[y, x, lane] += new * whole(lanes[z, y, x, lane])
            old = whole(voxels[z - WINDOW, y, x] * _VOLUME) if z >= WINDOW else whole(0)
            if old != 0:
                for lane in range(LANES):
                    slab[y, x, lane] -= old * whole(lanes[z - WINDOW, y, x, lane])


@compiled()
def _add_rows(slab: np.ndarray, y: int, strip: np.ndarray) -> None:
    """Add a row of the slab to the strip, and take away the row that leaves it."""
    for x in range(len(strip)):
        for lane in range(LANES):
            strip[x, lane] += slab[y, x, lane]
        if y >= WINDOW:
            for lane in range(LANES):
                strip[x, lane] -= slab[y - WINDOW, x, lane]


@compiled()
def _begin_row(strip: np.ndarray, window: np.ndarray, line: np.ndarray) -> None:
    """Clear the scores of a row, and fill its first window but for the last column."""
    line[:], window[:] = 0, 0
    for x in range(WINDOW - 1):
        for lane in range(LANES):
            window[lane] += strip[x, lane]


@cache
def _kernel(wide: bool) -> Callable[..., Any]:
    """Return the loop over pairs with 32-bit sums of products, or with float64 for volumes of more than 8 bits.

    343 sum(xy) may exceed 32 bits, but its difference to sum(x) sum(y) never does: it is at most 343^2 * 127.5^2 for values of 8
    bits. Sums that wrap around therefore give the exact difference.
    """
    whole, real = (np.float64, np.float64) if wide else (np.int32, np.float32)

    # `contract` permits fused multiply-add; no other change of the arithmetic is allowed.
    @compiled(parallel=True, fastmath={"contract"})
    def all_pairs(  # type: ignore[no-untyped-def]
        pixels, sums, means, variances, factors, ranges,
        lane_pixels, lane_sums, lane_means, lane_variances, lane_factors, lane_ranges, scores,
    ):  # fmt: skip
        count, depth, height, width = pixels.shape
        slices, rows, columns = depth - WINDOW + 1, height - WINDOW + 1, width - WINDOW + 1
        for block in prange(len(lane_pixels)):
            # Sums of products over the seven slices and the seven rows of the current windows, and over one window.
            slab, strip = np.empty((height, width, LANES), whole), np.empty((width, LANES), whole)
            window, line, total = np.empty(LANES, whole), np.empty(LANES, real), np.empty(LANES, np.float64)
            scale, c1, c2 = np.empty(LANES, real), np.empty(LANES, real), np.empty(LANES, real)
            for n in range(count):
                for lane in range(LANES):
                    span = max(ranges[n], lane_ranges[block, lane])
                    c1[lane], c2[lane] = (K1 * span) ** 2, (K2 * span) ** 2
                    scale[lane] = 2 * factors[n] * lane_factors[block, lane] / _SAMPLE
                    total[lane] = 0
                slab[:] = 0
                for z in range(depth):
                    _add_slice(pixels[n], lane_pixels[block], z, slab)
                    strip[:] = 0
                    for y in range(height if z >= WINDOW - 1 else 0):
                        _add_rows(slab, y, strip)
                        front, top = z - WINDOW + 1, y - WINDOW + 1
                        if top < 0:
                            continue
                        _begin_row(strip, window, line)
                        for x in range(columns):
                            own_sum, mean = whole(sums[n, front, top, x]), means[n, front, top, x]
                            variance, square = variances[n, front, top, x], mean * mean
                            for lane in range(LANES):
                                products = whole(window[lane] + strip[x + WINDOW - 1, lane])
                                window[lane] = products - strip[x, lane]
                                covariance = real(
                                    whole(products - own_sum * whole(lane_sums[block, front, top, x, lane]))
                                )
                                other = lane_means[block, front, top, x, lane]
                                line[lane] += (
                                    ((mean + mean) * other + c1[lane]) * (covariance * scale[lane] + c2[lane])
                                ) / (
                                    (square + other * other + c1[lane])
                                    * (variance + lane_variances[block, front, top, x, lane] + c2[lane])
                                )
                        for lane in range(LANES):
                            total[lane] += line[lane]
                for lane in range(LANES):
                    scores[n, block * LANES + lane] = total[lane] / (slices * rows * columns)

    return all_pairs
