"""SSIM of 8-bit images on a GPU: the same score as ssim.py, from the same features.

For one position of the window, the sums of products of all pairs of a tile are a matrix product of the 49 pixels in the
window: R x 49 times 49 x S. Tensor cores compute it exactly: pixels minus 128 are integers that float16 represents, and
their sums stay below 2^24, the limit for exact integers of the float32 accumulator. The rest of the score is arithmetic on
the tile, in registers.

Not here: features and definition (ssim.py), images of more than 8 bits, which are compared on the CPU.
"""

import logging

import numpy as np
import torch
import triton
import triton.language as tl

from deepssim.images.packs import ImagePack
from deepssim.similarity.ssim import SsimComparison, SsimFeatures, kernel_constants
from deepssim.similarity.ssim_constants import WINDOW

logger = logging.getLogger(__name__)

_BLOCK = 64  # rows and columns of a tile: four tensor-core tiles per side
# Threads of a tile, in warps of 32. With 4, the compiler needs 848 bytes of memory per thread beside the 255 registers of
# compute capability 9.0; with 8, the 16 pairs of a thread fit into registers.
_WARPS = 8
_TAPS = 64  # pixels of a window, padded to a power of two
_CENTRE = 128  # subtracted from every pixel, so that sums are small


class SsimCudaComparison(SsimComparison):
    """SSIM between two packs of 8-bit images, computed on a GPU; see `ssim.SsimComparison`."""

    device = torch.device("cuda")

    def __init__(self, real: ImagePack, synthetic: ImagePack, *, threads: int = 1, symmetric: bool = False) -> None:
        super().__init__(real, synthetic, threads=threads, symmetric=symmetric)
        self._uploaded: dict[str, tuple[SsimFeatures, list[torch.Tensor]]] = {}

    def compare(self, rows: SsimFeatures, columns: SsimFeatures) -> np.ndarray:
        """Score all pairs of prepared images; if GPU memory is short, in halves.

        Args:
            rows, columns: features of r real and s synthetic images.

        Returns:
            float32 (r, s).

        Raises:
            torch.OutOfMemoryError: if not even one pair fits into GPU memory.
        """
        try:
            return self._compare(rows, columns)
        except torch.OutOfMemoryError:
            self._uploaded.clear()
            shape = len(rows.pixels), len(columns.pixels)
            if shape == (1, 1):
                raise
        # Outside of `except`, whose traceback would keep the tensors that did fit.
        axis = int(shape[1] >= shape[0])
        middle = shape[axis] // 2
        logger.warning("out of GPU memory for SSIM of %d x %d images; halving the batch", *shape)
        parts = [
            self.compare(_part(rows, part), columns) if axis == 0 else self.compare(rows, _part(columns, part))
            for part in (slice(middle), slice(middle, None))
        ]
        return np.concatenate(parts, axis=axis)

    def _compare(self, rows: SsimFeatures, columns: SsimFeatures) -> np.ndarray:
        scores = torch.empty((len(rows.pixels), len(columns.pixels)), dtype=torch.float32, device=self.device)
        own, other = self._upload("rows", rows, 1), self._upload("columns", columns, int(self.symmetric))
        grid = (triton.cdiv(scores.shape[0], _BLOCK), triton.cdiv(scores.shape[1], _BLOCK))
        _all_pairs[grid](
            *own, *other, scores, *scores.shape, own[0].shape[1], other[0].shape[1], *rows.pixels.shape[1:],
            *kernel_constants(),
            WINDOW=WINDOW, TAPS=_TAPS, CENTRE=_CENTRE, BLOCK=_BLOCK, num_warps=_WARPS,
        )  # fmt: skip
        return scores.cpu().numpy()

    def _upload(self, side: str, features: SsimFeatures, use_range: int) -> list[torch.Tensor]:
        """Copy features to the device, ordered by pixel or window, so that the values of a tile's images are neighbours.

        The latest of each side stay there: `tiles.prepared_tiles` repeats the same rows for every tile of columns.
        """
        kept = self._uploaded.get(side)
        if kept is not None and kept[0] is features:
            return kept[1]
        self._uploaded.pop(side, None)  # before the next are copied
        arrays = (
            (features.pixels.astype(np.uint8), torch.uint8),
            (features.sums, torch.int32),
            (features.means, torch.float32),
            (features.variances, torch.float32),
            (features.factors.astype(np.float32), torch.float32),
            ((features.ranges * use_range).astype(np.float32), torch.float32),
        )
        tensors = [self._by_image(values, kind) for values, kind in arrays]
        tensors[1] -= WINDOW**2 * _CENTRE
        self._uploaded[side] = features, tensors
        return tensors

    def _by_image(self, values: np.ndarray, kind: torch.dtype) -> torch.Tensor:
        """Return values (N, ...) on the device with the images in the last axis, zeros added up to whole tiles.

        Transposing there takes a small fraction of the time that it takes on the CPU.
        """
        source = torch.from_numpy(np.ascontiguousarray(values.reshape(len(values), -1))).to(self.device)
        padded = triton.cdiv(len(values), _BLOCK) * _BLOCK
        result = torch.zeros((source.shape[1], padded), dtype=kind, device=self.device)
        result[:, : len(values)] = source.T
        return result


def _part(features: SsimFeatures, part: slice) -> SsimFeatures:
    return SsimFeatures(*(values[part] for values in vars(features).values()))


# One machine code for all numbers of images: it is compiled once, and a pair scores the same in any company.
@triton.jit(do_not_specialize=["count", "other_count"])
def _all_pairs(  # type: ignore[no-untyped-def]
    pixels, sums, means, variances, factors, ranges,
    other_pixels, other_sums, other_means, other_variances, other_factors, other_ranges, scores,
    count, other_count, stride, other_stride, height, width, k1, k2, sample,
    WINDOW: tl.constexpr, TAPS: tl.constexpr, CENTRE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # Features are (pixels or windows, stride): images beyond the last are zeros up to whole tiles, so nothing but the
    # scores needs a mask. What is multiplied by a stride is 64-bit: a tile of large images has more than 2^31 values.
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    tap = tl.arange(0, TAPS)
    is_tap = tap < WINDOW * WINDOW
    tap_place = ((tap // WINDOW) * width + tap % WINDOW).to(tl.int64)
    span = tl.maximum(tl.load(ranges + row)[:, None], tl.load(other_ranges + column)[None, :])
    c1, c2 = k1 * span * (k1 * span), k2 * span * (k2 * span)
    scale = tl.load(factors + row)[:, None] * tl.load(other_factors + column)[None, :] * (2.0 / sample)
    image = tap_place[None, :] * stride + row[:, None]
    other_image = tap_place[:, None] * other_stride + column[None, :]
    total = tl.zeros((BLOCK, BLOCK), tl.float64)
    for y in range(height - WINDOW + 1):
        line = tl.zeros((BLOCK, BLOCK), tl.float32)
        for x in range(width - WINDOW + 1):
            place = (y * width + x).to(tl.int64)
            # Taps outside of the window are set to CENTRE, which becomes zero.
            own = tl.load(pixels + place * stride + image, mask=is_tap[None, :], other=CENTRE)
            other = tl.load(other_pixels + place * other_stride + other_image, mask=is_tap[:, None], other=CENTRE)
            products = tl.dot(own.to(tl.float16) - CENTRE, other.to(tl.float16) - CENTRE)
            window = (y * (width - WINDOW + 1) + x).to(tl.int64)
            at, other_at = window * stride + row, window * other_stride + column
            covariance = products.to(tl.int32) * (WINDOW * WINDOW) - (
                tl.load(sums + at)[:, None] * tl.load(other_sums + other_at)[None, :]
            )
            mean, other_mean = tl.load(means + at)[:, None], tl.load(other_means + other_at)[None, :]
            variance = tl.load(variances + at)[:, None] + tl.load(other_variances + other_at)[None, :]
            line += ((2 * mean * other_mean + c1) * (covariance.to(tl.float32) * scale + c2)) / (
                (mean * mean + other_mean * other_mean + c1) * (variance + c2)
            )
        total += line.to(tl.float64)
    mean_score = (total / ((height - WINDOW + 1) * (width - WINDOW + 1))).to(tl.float32)
    place = row.to(tl.int64)[:, None] * other_count + column[None, :]
    tl.store(scores + place, mean_score, mask=(row < count)[:, None] & (column < other_count)[None, :])
