"""Exact SSIM of every real image with every synthetic one.

The score is that of scikit-image's `structural_similarity` with its defaults, on z-scored images, with the range of the
real image as `data_range`. Three optimisations reduce the cost of a pair:

- Means and variances of all windows are computed once per image; a pair only adds the window sums of products.
- These are running sums, down the columns and along the row, so a pixel takes two products instead of 49. The values of
  8-bit images are summed exactly; z-scoring is a linear map of the pixels and becomes one factor at the end.
- 16 synthetic images are interleaved pixel by pixel, so every instruction (SIMD) works on many pairs. A pair's result
  does not depend on the other pairs: tiles, shards and threads do not change a bit of it.

Not here: the loop over pairs (ssim_kernel.py), volumes (ssim_volumes.py), tiles and memory (tiles.py), matrices in files
(matrices.py), the same on a GPU (ssim_cuda.py).

Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861; arXiv:2509.16582 for z-score and range.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import prange

from deepssim.images.packs import ImagePack, require_same_size
from deepssim.images.standardize import require_zscore
from deepssim.runtime.compilation import compiled
from deepssim.similarity.lanes import compare_by_row, in_lanes, numba_threads
from deepssim.similarity.simd import VECTOR
from deepssim.similarity.ssim_constants import K1, K2, WINDOW
from deepssim.similarity.ssim_kernel import arrange_rows, parts_in_groups, score_all_pairs

_AREA = WINDOW**2
_TRANSLATION = 60_000_000  # bytes that are needed while the loops are compiled, and for real images in another order
_SAMPLE = _AREA * (_AREA - 1)  # covariances are those of a sample: 49 sum(xy) - sum(x) sum(y), divided by 49 * 48


@dataclass(frozen=True)
class SsimFeatures:
    """Features of N images from which SSIM is computed; those of volumes have a further axis before height.

    Attributes:
        pixels: (N, H, W), int16 for 8-bit images, from 0, else float64.
        sums: (N, H - 6, W - 6), sums of the pixels in each full window; dtype as `pixels`, int32 for volumes of 8 bits.
        means: (N, H - 6, W - 6), means of the z-scored windows; float32 for 8-bit images, else float64.
        variances: variances of the z-scored windows; shape and dtype as `means`.
        factors: float64 (N,), 1 / standard deviation of the image.
        ranges: float64 (N,), maximum - minimum of the z-scored image.
    """

    pixels: np.ndarray
    sums: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    factors: np.ndarray
    ranges: np.ndarray


class SsimComparison:
    """SSIM between two image packs; see `tiles.Comparison`.

    Args:
        real: R images of at least 7x7 pixels; their range scales the constants, so the score is not symmetric.
        synthetic: S images of the same size.
        threads: CPU threads; the result does not depend on it.
        symmetric: use the larger range of the two images, so that the score is symmetric.

    Raises:
        DataError: if sizes differ or are below 7x7. Preparing an image raises it if the image is constant.
    """

    def __init__(self, real: ImagePack, synthetic: ImagePack, *, threads: int = 1, symmetric: bool = False) -> None:
        require_same_size(real, synthetic, min_side=WINDOW)
        if real.spatial_dims != self._spatial_dims:
            raise ValueError(f"expected images of {self._spatial_dims} dimensions, got {real.spatial_dims}")
        self.real, self.synthetic = real, synthetic
        self.threads, self.symmetric = threads, symmetric
        self.shape = len(real.keys), len(synthetic.keys)
        self.bytes_held = real.bytes_in_memory + synthetic.bytes_in_memory + _TRANSLATION
        self._wide = not (real.images.dtype == synthetic.images.dtype == np.uint8)
        # Pixels, sums, means and variances, both per image and interleaved.
        width = 32 if self._wide else 10 + np.dtype(self._whole_sum).itemsize
        self.bytes_per_item = math.prod(real.images.shape[1:]) * (2 * width + 2)

    def prepare_rows(self, rows: Any) -> SsimFeatures:
        """Compute the features of some real images."""
        return self._prepare(self.real, rows)

    def prepare_columns(self, columns: Any) -> SsimFeatures:
        """Compute the features of some synthetic images."""
        return self._prepare(self.synthetic, columns)

    def compare(self, rows: SsimFeatures, columns: SsimFeatures) -> np.ndarray:
        """Score all pairs of prepared images.

        Args:
            rows, columns: features of r real and s synthetic images.

        Returns:
            float32 (r, s).
        """
        count, size = len(columns.pixels), columns.pixels.shape[1:]
        scores = np.empty((len(rows.pixels), count), np.float32)
        # One thread per block at most: others would only have to be woken up and waited for, which takes longer than a block.
        with numba_threads(min(self.threads, -(-count // VECTOR))):
            lanes = [in_lanes(values, VECTOR).ravel() for values in vars(columns).values()]
            lanes[-1] *= self.symmetric  # lanes without an image have factor and range 0, and scores that are cut off
            for part, height in parts_in_groups(len(rows.pixels), size, self._wide):
                chosen = (values[part] for values in (rows.pixels, rows.sums, rows.means, rows.variances))
                arranged = arrange_rows(*chosen, height, np.float64 if self._wide else np.float32)
                filled = np.empty((part.stop - part.start, len(lanes[-1])), np.float32)
                of_rows = *arranged, rows.factors[part], rows.ranges[part]
                score_all_pairs((0,) * height, *of_rows, *lanes, size, filled)
                scores[part] = filled[:, :count]
        return scores

    def compare_pairs(
        self, rows: SsimFeatures, columns: SsimFeatures, row_of: np.ndarray, column_of: np.ndarray
    ) -> np.ndarray:
        """Score a list of pairs; bitwise equal to the entries of `compare`.

        Args:
            rows, columns: prepared items.
            row_of, column_of: integer (N,), indices into them of each pair.

        Returns:
            float32 (N,).
        """
        return compare_by_row(self.compare, rows, columns, row_of, column_of)

    def _prepare(self, pack: ImagePack, part: Any) -> SsimFeatures:
        images = pack.images[part]
        require_zscore(images, lambda row: pack.keys[np.arange(len(pack.keys))[part][row]])
        count = len(images)
        inner = (count, *(side - WINDOW + 1 for side in images.shape[1:]))
        pixel, total, real = (np.float64,) * 3 if self._wide else (np.int16, self._whole_sum, np.float32)
        pixels = _centred(images) if np.issubdtype(images.dtype, np.floating) else images.astype(pixel)
        if not self._wide:
            pixels -= pixels.min(axis=tuple(range(1, pixels.ndim)), keepdims=True)  # keeps sums of products small
        features = SsimFeatures(
            pixels,
            np.empty(inner, total),
            np.empty(inner, real),
            np.empty(inner, real),
            np.empty(count),
            np.empty(count),
        )
        with numba_threads(self.threads):
            self._fill_moments(*vars(features).values())
        return features

    # What the comparison of volumes replaces: the loop over features, and the type of sums of 8-bit pixels over a window.
    _spatial_dims = 2
    _whole_sum: type[np.signedinteger] = np.int16

    @staticmethod
    def _fill_moments(*features: np.ndarray) -> None:
        _fill_moments(*features)


def _centred(images: np.ndarray) -> np.ndarray:
    """Subtract its mean from every image whose values are further from 0 than their range is wide.

    A z-score does not depend on it, but window variances are differences of sums of squares, in which a large offset cancels
    the digits that matter. Images that contain 0, like all those between 0 and 1 with a black background, stay as they are.

    Args:
        images: floating point (N, H, W) or (N, D, H, W).

    Returns:
        float64, same shape.
    """
    values = images.astype(np.float64)
    axes = tuple(range(1, values.ndim))
    means = values.mean(axis=axes, keepdims=True)
    far = np.abs(means) > np.ptp(values, axis=axes, keepdims=True)
    values -= np.where(far, means, 0.0)
    return values


def kernel_constants() -> tuple[float, float, int]:
    """Return K1, K2 and the divisor of sample covariances, for other implementations of the same score."""
    return K1, K2, _SAMPLE


def ssim_of_arrays(real: np.ndarray, synthetic: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Compute SSIM of all pairs of images that are not constant.

    Args:
        real: numeric, shape (R, H, W), at least 7x7; z-scored here.
        synthetic: numeric, shape (S, H, W).
        threads: CPU threads.

    Returns:
        float32, shape (R, S).
    """
    packs = (ImagePack(images, [str(row) for row in range(len(images))]) for images in (real, synthetic))
    comparison = SsimComparison(*packs, threads=threads)
    return comparison.compare(comparison.prepare_rows(slice(None)), comparison.prepare_columns(slice(None)))


@compiled(parallel=True)
def _fill_moments(
    pixels: np.ndarray,
    sums: np.ndarray,
    means: np.ndarray,
    variances: np.ndarray,
    factors: np.ndarray,
    ranges: np.ndarray,
) -> None:
    """Compute all features except the pixels. Sums are float64, which is exact for integers."""
    count, height, width = pixels.shape
    for n in prange(count):
        total, squares = 0.0, 0.0
        low, high = np.float64(pixels[n, 0, 0]), np.float64(pixels[n, 0, 0])
        for y in range(height):
            for x in range(width):
                value = np.float64(pixels[n, y, x])
                total += value
                low, high = min(low, value), max(high, value)
        mean = total / (height * width)
        for y in range(height):
            for x in range(width):
                squares += (pixels[n, y, x] - mean) ** 2
        factor = 1 / np.sqrt(squares / (height * width))
        factors[n], ranges[n] = factor, (high - low) * factor
        strip, strip_squares = np.zeros(width), np.zeros(width)  # sums over the seven rows of the current windows
        for y in range(height):
            for x in range(width):
                new = np.float64(pixels[n, y, x])
                strip[x] += new
                strip_squares[x] += new * new
            top = y - WINDOW + 1
            if top < 0:
                continue
            for x in range(width - WINDOW + 1):
                first, second = 0.0, 0.0
                for dx in range(WINDOW):
                    first += strip[x + dx]
                    second += strip_squares[x + dx]
                sums[n, top, x] = first
                means[n, top, x] = (first / _AREA - mean) * factor
                variances[n, top, x] = (_AREA * second - first * first) / _SAMPLE * factor * factor
            for x in range(width):
                old = np.float64(pixels[n, top, x])
                strip[x] -= old
                strip_squares[x] -= old * old
