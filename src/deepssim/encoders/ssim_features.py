"""SSIM as the inner product of two embeddings: features that need no training, for images of any size.

SSIM is the mean over windows of a product of two factors, one of means and one of variances and covariance. With 2 a^2 and
2 b^2 for the constants C1 and C2 of SSIM, and t = sqrt(s^2 + b^2) for a window of variance s^2, the second factor is

    (cov + b^2) / (t t')  *  2 t t' / (t^2 + t'^2)

The first of its terms is the inner product of two unit vectors, (deviations of the window's pixels from their mean, b) / t.
The second is 1 / cosh(log t - log t'), the expectation of cos(w (log t - log t')) for w from the hyperbolic secant
distribution. With one w per window, cos(w log t) and sin(w log t) make it an inner product in expectation, too. The factor of
means m has the same form, with (m, a) and sqrt(m^2 + a^2). SSIM is therefore a positive definite kernel, and images have
feature vectors whose expected inner product is SSIM. Three approximations make them short:

- *Windows.* A window has 7x7 pixels at the image's own size, as in exact SSIM. Of all windows, 1,024 are taken, one at a random
  place in each cell of a 32x32 grid over the image, whatever its size.
- *Sketch.* The 196 numbers of a window are added up with random signs to those of other windows, and the sums, again with random
  signs, to the entries of the embedding; this preserves inner products in expectation.
- *Uniform dark windows* are a large part of many medical images and nearly the same in all of them. Their sums over parts of the
  image have entries of their own, so that the random signs only act on what remains.

Everything random is stored with the weights, so that embeddings of one encoder file can be compared, and only these.

Not here: the network that compensates misalignment (deepssim.py), exact SSIM (similarity/ssim.py).

Source: SSIM: Wang et al. 2004, doi:10.1109/TIP.2003.819861. Random features: Rahimi and Recht 2007. Sketch: Charikar et al.
2002, doi:10.1007/3-540-45465-9_59.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import idctn
from torch import Tensor, nn

from deepssim.images.standardize import zscore_batch
from deepssim.similarity.ssim_constants import K1, K2, WINDOW

MIN_FEATURES = 128  # a shorter sketch has a standard error above 0.09, 1 / sqrt(length)

_CELLS = 32  # cells along each side of the image, each with one window
_COUNT = _CELLS**2  # windows
_GROUPS = 16  # sets of windows whose numbers are added up entry by entry
_SAMPLE = 8  # cells along each side of a square whose windows have evenly spread frequencies
_PLACES = 16  # trainable weights of positions along each side of the image
_AREA = WINDOW**2
_AT_A_TIME = 16  # images whose windows, 0.2 MB each, stay in a processor's cache from one operation to the next
_MEANS = 2
_PARTS = 2 * _MEANS  # cosine and sine of the phase, times the two numbers of the mean
_POSITION_BITS = 20  # positions are stored as fractions of 2^20: integer arithmetic is the same on every device

# The constants of SSIM depend on the range of intensities of one of two images; features have to use that of their own image.
# A power of the range, scaled to agree at a typical range of z-scored images, varies less between an image and its copy,
# so that uniform windows of the two agree better. docs/appendix/encoder-lab-notes.md compares powers.
_RANGE_POWER = 0.7
_TYPICAL_RANGE = 4.0  # standard deviations
_DARK_LEVEL = 0.8  # standard deviations by which dark windows are below the mean of the image


class SsimFeatures(nn.Module):
    """Embeddings whose expected cosine is SSIM, with trainable weights for positions and frequencies.

    Args:
        features: length of an embedding, at least 2.
    """

    corners: Tensor
    rates: Tensor
    angles: Tensor
    signs: Tensor
    group_signs: Tensor
    dark: Tensor
    basis: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        # Parts of the image along each side for which sums of dark windows are kept, in an eighth of the entries at most.
        self.blocks = max(side for side in (1, 2, 4, 8) if side == 1 or 8 * side**2 <= features)
        self.sketched = features - self.blocks**2
        # Logarithmic weights of positions and frequencies: interpolation blurs, and rotation loses corners.
        self.places = nn.Parameter(torch.zeros(_PLACES**2))
        self.frequencies = nn.Parameter(torch.zeros(_AREA))
        self.means = nn.Parameter(torch.zeros(_MEANS))
        # Stored with the weights, because embeddings of different sketches cannot be compared.
        self.register_buffer("corners", torch.empty(2, _COUNT, dtype=torch.int32))
        self.register_buffer("rates", torch.empty(2, _COUNT))
        self.register_buffer("angles", torch.empty(2, _COUNT))
        self.register_buffer("signs", torch.empty(_COUNT, _AREA, dtype=torch.int8))
        self.register_buffer("group_signs", torch.empty(_GROUPS * _PARTS * _AREA, dtype=torch.int8))
        self.register_buffer("dark", torch.empty(self.blocks**2, self.sketched))
        self.register_buffer("basis", _basis(), persistent=False)
        # On the meta device there are no values to draw, and trying would import torch's compiler, which takes a second.
        if not self.corners.is_meta:
            self._draw()

    def _draw(self) -> None:
        """Draw the windows, the frequencies and offsets of their phases, and the sketch."""
        cells = torch.stack(torch.meshgrid(torch.arange(_CELLS), torch.arange(_CELLS), indexing="ij")).flatten(1)
        cell_size = 2**_POSITION_BITS // _CELLS
        dealt = torch.randperm(_COUNT)  # neighbouring windows are in different groups
        self.corners.copy_((cells * cell_size + torch.randint(cell_size, (2, _COUNT)))[:, dealt])
        self.rates.copy_(torch.stack([_rates(), _rates()])[:, dealt])
        self.angles.copy_(2 * math.pi * torch.rand(2, _COUNT))
        self.signs.copy_(torch.randint(2, self.signs.shape) * 2 - 1)
        self.group_signs.copy_(torch.randint(2, self.group_signs.shape) * 2 - 1)
        block, outer = self._blocks(), self._dark_outer()
        uniform = torch.full((1, _COUNT, _AREA), 1 / WINDOW)
        self.dark.copy_(torch.cat([self._sketch((outer * part[:, None])[None], uniform) for part in block.T]))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: floating point (N, 1, H, W), at least 7x7 pixels, any intensity scale.

        Returns:
            float32 (N, D), of norm about 1.
        """
        with torch.autocast(images.device.type, enabled=False):
            places = self.places.exp()[self._cell(_PLACES)][:, None]
            filters = (self.basis.T * self.frequencies.exp()) @ self.basis
            # Tracing would fix the number of parts. Unlike in `in_cache`, training gains as well.
            whole = images.device.type != "cpu" or torch.jit.is_tracing()
            parts = [images.float()] if whole else images.float().split(_AT_A_TIME)
            return torch.cat([self._embed(part, places, filters) for part in parts]) / _CELLS

    def _embed(self, images: Tensor, places: Tensor, filters: Tensor) -> Tensor:
        outer, inner = self.windows(images)
        outer = outer.flatten(2) * places
        # Projections on dark windows, averaged over each block, are kept; the sketch receives the remainder.
        on_uniform = inner @ (filters.sum(dim=1) / WINDOW)
        dark = ((outer * self._dark_outer()).sum(dim=2) * on_uniform) @ self._blocks()
        return torch.cat([dark, self._sketch(outer, inner @ filters) - dark @ self.dark], dim=1)

    def windows(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature vectors of the windows, as pairs of factors of an outer product.

        Args:
            images: float32 (N, 1, H, W), any intensity scale.

        Returns:
            float32 (N, 1024, 2, 2), windows x phases x means, and (N, 1024, 49), windows x pixels; the products of a window
            are unit vectors, as long as `means` is zero.
        """
        scored = zscore_batch(images)
        extent = (scored.amax((1, 2, 3)) - scored.amin((1, 2, 3)))[:, None, None]
        min_mean, min_deviation = _minima(extent.pow(_RANGE_POWER) * _TYPICAL_RANGE ** (1 - _RANGE_POWER))
        pixels = scored.flatten(1).index_select(1, self._pixels(images).flatten()).unflatten(1, (_COUNT, _AREA))
        mean = pixels.mean(dim=2, keepdim=True)
        # The deviations sum to zero, so that equal numbers added to them are perpendicular.
        contrast = (pixels - mean).div_(math.sqrt(_AREA - 1)).add_(min_deviation / WINDOW)
        deviation = contrast.norm(dim=2, keepdim=True)
        level = (mean**2 + min_mean**2).sqrt()
        # The small factor is divided by the length of the large one.
        means = torch.cat([mean, min_mean.expand_as(mean)], dim=2) / (level * deviation) * self.means.exp()
        return self._outer(level[..., 0].log(), deviation[..., 0].log(), means), contrast

    def _outer(self, log_level: Tensor, log_deviation: Tensor, means: Tensor) -> Tensor:
        """Return phases times means, (N, P, 2, 2), both rotated at random, so that all entries are of similar size."""
        phase = self.rates[0] * log_level + self.rates[1] * log_deviation + self.angles[0]
        cos, sin = self.angles[1].cos(), self.angles[1].sin()
        rotated = torch.stack([means[..., 0] * cos + means[..., 1] * sin, means[..., 1] * cos - means[..., 0] * sin], 2)
        return torch.stack([phase.cos(), phase.sin()], dim=2)[..., None] * rotated[:, :, None]

    def _dark_outer(self) -> Tensor:
        """Return phases times means of uniform dark windows in images of typical range, (P, 4)."""
        ones = self.rates.new_ones(1, _COUNT)
        _, min_deviation = _minima(torch.tensor(_TYPICAL_RANGE))
        means = torch.stack([-ones, 0 * ones], dim=2)
        return self._outer(math.log(_DARK_LEVEL) * ones, min_deviation.log() * ones, means)[0].flatten(1)

    def _sketch(self, outer: Tensor, inner: Tensor) -> Tensor:
        """Add up (N, P, 4) times (N, P, 49) with random signs, float32 (N, sketched).

        Numbers of the same window or of different windows meet with independent signs: pairs of windows by `signs`, pairs of
        entries by `group_signs`.
        """
        parts = (_GROUPS, _COUNT // _GROUPS)
        sums = outer.unflatten(1, parts).transpose(2, 3) @ (inner * self.signs.float()).unflatten(1, parts)
        signed = sums.flatten(1) * self.group_signs
        return F.pad(signed, (0, -signed.shape[1] % self.sketched)).unflatten(1, (-1, self.sketched)).sum(dim=1)

    def _pixels(self, images: Tensor) -> Tensor:
        """Return the indices of the pixels of each window in a flattened image, int64 (P, 49)."""
        height, width = images.shape[2:]
        rows, columns = self.corners.long()
        top = (rows * (height - WINDOW + 1)) >> _POSITION_BITS
        left = (columns * (width - WINDOW + 1)) >> _POSITION_BITS
        steps = torch.arange(WINDOW, device=images.device)
        return (top * width + left)[:, None] + (steps[:, None] * width + steps).flatten()

    def _cell(self, side: int) -> Tensor:
        """Return the cell of each window in a grid of side x side cells over the image, int64 (P,)."""
        rows, columns = (self.corners.long() * side) >> _POSITION_BITS
        return rows * side + columns

    def _blocks(self) -> Tensor:
        """Return the membership of windows in blocks, float32 (P, blocks), with orthonormal columns."""
        return F.one_hot(self._cell(self.blocks), self.blocks**2).float() * (self.blocks / _CELLS)


def _minima(extent: Tensor) -> tuple[Tensor, Tensor]:
    """Return a and b of the module's header for images of some range of intensities."""
    return K1 * extent / math.sqrt(2), K2 * extent / math.sqrt(2)


def _rates() -> Tensor:
    """Draw a sample of the hyperbolic secant distribution, stratified in the image and in each of its parts, float32 (P,)."""
    inside, squares = _SAMPLE**2, (_CELLS // _SAMPLE) ** 2
    stratum = torch.stack([torch.randperm(inside) for _ in range(squares)])
    finer = torch.stack([torch.randperm(squares) for _ in range(inside)], dim=1)
    quantiles = (stratum + (finer.gather(1, stratum) + 0.5) / squares) / inside
    rates = 2 / math.pi * (math.pi / 2 * quantiles).tan().log()
    squares_per_side = _CELLS // _SAMPLE
    return rates.view(squares_per_side, squares_per_side, _SAMPLE, _SAMPLE).transpose(1, 2).flatten()


def _basis() -> Tensor:
    """Return the orthonormal cosine basis of a window, the constant first, float32 (49, 49)."""
    units = np.eye(_AREA).reshape(_AREA, WINDOW, WINDOW)
    return torch.from_numpy(idctn(units, axes=(1, 2), norm="ortho").reshape(_AREA, _AREA).astype(np.float32))
