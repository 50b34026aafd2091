"""SSIM of 8-bit images on a GPU: the same score as ssim.py, from the same features.

For one position of the window, the sums of products of all pairs of a tile are a matrix product of the 49 pixels in the
window: R x 49 times 49 x S. Tensor cores compute it exactly: pixels minus 128 are integers that float16 represents, and
their sums stay below 2^24, the limit for exact integers of the float32 accumulator. The rest of the score is arithmetic on
the tile, in registers.

Not here: features and definition (ssim.py), images of more than 8 bits, which are compared on the CPU.
"""

import numpy as np
import torch
import triton
import triton.language as tl

from deepssim.similarity.ssim import SsimComparison, SsimFeatures, kernel_constants
from deepssim.similarity.ssim_constants import WINDOW

_BLOCK = 64  # rows and columns of a tile: four tensor-core tiles per side
_TAPS = 64  # pixels of a window, padded to a power of two
_CENTRE = 128  # subtracted from every pixel, so that sums are small


class SsimCudaComparison(SsimComparison):
    """SSIM between two packs of 8-bit images, computed on a GPU; see `ssim.SsimComparison`."""

    device = torch.device("cuda")

    def compare(self, rows: SsimFeatures, columns: SsimFeatures) -> np.ndarray:
        """Score all pairs of prepared images.

        Args:
            rows, columns: features of r real and s synthetic images.

        Returns:
            float32 (r, s).
        """
        scores = torch.empty((len(rows.pixels), len(columns.pixels)), dtype=torch.float32, device=self.device)
        ranges = columns.ranges * self.symmetric
        grid = (triton.cdiv(scores.shape[0], _BLOCK), triton.cdiv(scores.shape[1], _BLOCK))
        _all_pairs[grid](
            *self._upload(rows, rows.ranges), *self._upload(columns, ranges), scores,
            *scores.shape, *rows.pixels.shape[1:], *kernel_constants(),
            WINDOW=WINDOW, TAPS=_TAPS, CENTRE=_CENTRE, BLOCK=_BLOCK,
        )  # fmt: skip
        return scores.cpu().numpy()

    def _upload(self, features: SsimFeatures, ranges: np.ndarray) -> list[torch.Tensor]:
        """Copy features to the device: pixels by image, the others by window, so that a tile's values are contiguous."""
        by_window = (
            (features.sums.astype(np.int32) - WINDOW**2 * _CENTRE, np.int32),
            (features.means, np.float32),
            (features.variances, np.float32),
        )
        flat = [values.reshape(len(values), -1).T.astype(kind) for values, kind in by_window]
        small = [features.factors.astype(np.float32), ranges.astype(np.float32)]
        arrays = [features.pixels.astype(np.uint8), *flat, *small]
        return [torch.from_numpy(np.ascontiguousarray(values)).to(self.device) for values in arrays]


@triton.jit
def _all_pairs(  # type: ignore[no-untyped-def]
    pixels, sums, means, variances, factors, ranges,
    other_pixels, other_sums, other_means, other_variances, other_factors, other_ranges, scores,
    count, other_count, height, width, k1, k2, sample,
    WINDOW: tl.constexpr, TAPS: tl.constexpr, CENTRE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_row, is_column = row < count, column < other_count
    tap = tl.arange(0, TAPS)
    is_tap = tap < WINDOW * WINDOW
    tap_place = (tap // WINDOW) * width + tap % WINDOW
    span = tl.maximum(
        tl.load(ranges + row, mask=is_row, other=1.0)[:, None],
        tl.load(other_ranges + column, mask=is_column, other=0.0)[None, :],
    )
    c1, c2 = k1 * span * (k1 * span), k2 * span * (k2 * span)
    scale = (
        tl.load(factors + row, mask=is_row, other=0.0)[:, None]
        * tl.load(other_factors + column, mask=is_column, other=0.0)[None, :]
        * (2.0 / sample)
    )
    image = row.to(tl.int64)[:, None] * (height * width) + tap_place[None, :]
    other_image = column.to(tl.int64)[None, :] * (height * width) + tap_place[:, None]
    total = tl.zeros((BLOCK, BLOCK), tl.float64)
    for y in range(height - WINDOW + 1):
        line = tl.zeros((BLOCK, BLOCK), tl.float32)
        for x in range(width - WINDOW + 1):
            place = y * width + x
            # Pixels outside of the window and images beyond the last are set to CENTRE, which becomes zero.
            own = tl.load(pixels + image + place, mask=is_row[:, None] & is_tap[None, :], other=CENTRE)
            other = tl.load(other_pixels + other_image + place, mask=is_column[None, :] & is_tap[:, None], other=CENTRE)
            products = tl.dot(own.to(tl.float16) - CENTRE, other.to(tl.float16) - CENTRE)
            window = (y * (width - WINDOW + 1) + x).to(tl.int64)
            at, other_at = window * count + row, window * other_count + column
            covariance = products.to(tl.int32) * (WINDOW * WINDOW) - (
                tl.load(sums + at, mask=is_row, other=0)[:, None]
                * tl.load(other_sums + other_at, mask=is_column, other=0)[None, :]
            )
            mean = tl.load(means + at, mask=is_row, other=0.0)[:, None]
            other_mean = tl.load(other_means + other_at, mask=is_column, other=0.0)[None, :]
            variance = (
                tl.load(variances + at, mask=is_row, other=0.0)[:, None]
                + tl.load(other_variances + other_at, mask=is_column, other=0.0)[None, :]
            )
            line += ((2 * mean * other_mean + c1) * (covariance.to(tl.float32) * scale + c2)) / (
                (mean * mean + other_mean * other_mean + c1) * (variance + c2)
            )
        total += line.to(tl.float64)
    mean_score = (total / ((height - WINDOW + 1) * (width - WINDOW + 1))).to(tl.float32)
    place = row.to(tl.int64)[:, None] * other_count + column[None, :]
    tl.store(scores + place, mean_score, mask=is_row[:, None] & is_column[None, :])
