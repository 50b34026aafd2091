"""SSIM as the inner product of two embeddings: features that need no training.

SSIM is the mean over windows of a product of two factors, one of means and one of variances and covariance. With 2 a^2 and
2 b^2 for the constants C1 and C2 of SSIM, and t = sqrt(s^2 + b^2) for a window of variance s^2, the second factor is

    (cov + b^2) / (t t')  *  2 t t' / (t^2 + t'^2)

The first of its terms is the inner product of two unit vectors, (coefficients of the window's pixels less their mean, b) / t.
The second is 1 / cosh(log t - log t'), the expectation of cos(w (log t - log t')) for w from the hyperbolic secant
distribution. With one w per window, cos(w log t) and sin(w log t) make it an inner product in expectation, too. The factor of
means m has the same form, with (m, a) and sqrt(m^2 + a^2). SSIM is therefore a positive definite kernel, and images have
feature vectors whose expected inner product is SSIM. They are too long for an embedding, so that their entries are added up
with random signs into the entries of the embedding: a sketch, which preserves inner products in expectation.

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

_SIDE = 64  # pixels to which images are resized
_STRIDE = 3  # pixels between windows
_PLACES = (_SIDE - WINDOW) // _STRIDE + 1  # windows along each side
_AREA = WINDOW**2
_MEANS = 2
_PHASES = 2


class SsimFeatures(nn.Module):
    """Embeddings whose expected cosine is SSIM, with trainable weights for positions and frequencies.

    Args:
        features: length of an embedding.
    """

    order: Tensor
    signs: Tensor
    rates: Tensor
    basis: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        # Logarithmic weights of positions and frequencies: interpolation blurs, and rotation loses corners.
        self.places = nn.Parameter(torch.zeros(_PLACES, _PLACES))
        self.frequencies = nn.Parameter(torch.zeros(_AREA, 1, 1))
        self.means = nn.Parameter(torch.zeros(_MEANS, 1, 1, 1))
        count = _PHASES * _MEANS * _AREA * _PLACES**2
        self.padding = -count % features
        # Stored with the weights, because embeddings of different sketches cannot be compared.
        self.register_buffer("order", torch.empty(count + self.padding, dtype=torch.int32))
        self.register_buffer("signs", torch.empty(count + self.padding, dtype=torch.int8))
        self.register_buffer("rates", torch.empty(_PHASES, _PLACES, _PLACES))
        self.register_buffer("basis", _basis(), persistent=False)
        # On the meta device there are no values to draw, and trying would import torch's compiler, which takes a second.
        if not self.order.is_meta:
            self._draw()

    def _draw(self) -> None:
        """Draw the sketch and the frequencies of the phases."""
        self.order.copy_(torch.randperm(len(self.order)))
        self.signs.copy_(torch.randint(2, self.signs.shape) * 2 - 1)
        self.rates.copy_(torch.stack([_rates(), _rates()]))

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: floating point (N, 1, H, W), any intensity scale.

        Returns:
            float32 (N, D), of norm about 1.
        """
        with torch.autocast(images.device.type, enabled=False):
            parts = self.windows(images.float()) * (self.places + self.frequencies + self.means).exp()
            mixed = F.pad(parts.flatten(1), (0, self.padding))[:, self.order] * self.signs
            return mixed.unflatten(1, (-1, self.features)).sum(dim=1) / _PLACES

    def windows(self, images: Tensor) -> Tensor:
        """Return the feature vectors of all windows.

        Args:
            images: float32 (N, 1, H, W), any intensity scale.

        Returns:
            float32 (N, 2, 2, 49, 20, 20), phases x means x pixels x window rows x window columns; unit vectors over the
            first three.
        """
        small = F.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
        scored = zscore_batch(small)
        extent = (scored.amax((1, 2, 3)) - scored.amin((1, 2, 3)))[:, None, None, None]
        min_mean, min_deviation = (k * extent / math.sqrt(2) for k in (K1, K2))
        mean = F.avg_pool2d(scored, WINDOW, _STRIDE)
        contrast = F.conv2d(scored, self.basis, stride=_STRIDE) / math.sqrt(_AREA - 1)
        deviation = (contrast.square().sum(dim=1, keepdim=True) + min_deviation**2).sqrt()
        level = (mean**2 + min_mean**2).sqrt()
        contrast = torch.cat([contrast, min_deviation.expand_as(mean)], dim=1) / deviation
        means = torch.cat([mean, min_mean.expand_as(mean)], dim=1) / level
        phase = self.rates[0] * level.log() + self.rates[1] * deviation.log()
        phases = torch.cat([phase.cos(), phase.sin()], dim=1)
        return phases[:, :, None, None] * (means[:, :, None] * contrast[:, None])[:, None]


def _rates() -> Tensor:
    """Draw a stratified sample of the hyperbolic secant distribution, one number per window, float32 (20, 20)."""
    quantiles = (torch.randperm(_PLACES**2) + 0.5) / _PLACES**2
    return (2 / math.pi * (math.pi / 2 * quantiles).tan().log()).view(_PLACES, _PLACES)


def _basis() -> Tensor:
    """Return the orthonormal cosine basis of a window without the constant, float32 (48, 1, 7, 7)."""
    units = np.eye(_AREA).reshape(_AREA, WINDOW, WINDOW)
    waves = idctn(units, axes=(1, 2), norm="ortho")[1:, None]
    return torch.from_numpy(waves.astype(np.float32))
