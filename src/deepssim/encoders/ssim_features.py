"""SSIM as a product of two embeddings: the part of the encoder that needs no training.

SSIM is the mean over windows of a product of two factors, one of means and one of variances and covariance. With 2 a^2 and
2 b^2 for the constants C1 and C2 of SSIM, and t = sqrt(s^2 + b^2) for a window of variance s^2, the second is

    (cov + b^2) / (t t')  *  2 t t' / (t^2 + t'^2)

which is an inner product of two unit vectors, (coefficients of the window's pixels less their mean, b) / t, times
1 / cosh(log t - log t'). That is the mean of cos(w (log t - log t')) over random w of the hyperbolic secant distribution, so
one w for every window and the two numbers cos(w log t) and sin(w log t) make an inner product of it, too. The factor of means
m is of the same form, with (m, a) and sqrt(m^2 + a^2). So SSIM is a positive definite kernel, and images have vectors whose
inner products are SSIM on average. These have too many numbers for an embedding, so they are added up with random signs
into as many as an embedding has: a sketch, which keeps inner products on average.

Not here: the network that learns what misalignment takes (deepssim.py), exact SSIM (similarity/ssim.py).

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
from deepssim.similarity.ssim import K1, K2, WINDOW

LEAST_FEATURES = 128  # a sketch of fewer numbers is off by 0.09 and more: 1 / sqrt(numbers)

_SIDE = 64  # pixels; of larger images a reduced copy is seen
_STRIDE = 3  # pixels between windows
_PLACES = (_SIDE - WINDOW) // _STRIDE + 1  # windows along each side
_AREA = WINDOW**2
_MEANS = 2
_PHASES = 2


class SsimFeatures(nn.Module):
    """Embeddings whose cosines are SSIM on average, with weights for places and frequencies that training may change.

    Input: float32 (N, 1, H, W), any intensity scale. Output: float32 (N, D), of length about 1.
    """

    order: Tensor
    signs: Tensor
    rates: Tensor
    basis: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        # How much to trust a place, and a frequency: interpolation blurs, and rotation loses corners.
        self.places = nn.Parameter(torch.zeros(_PLACES, _PLACES))
        self.frequencies = nn.Parameter(torch.zeros(_AREA, 1, 1))
        self.means = nn.Parameter(torch.zeros(_MEANS, 1, 1, 1))
        count = _PHASES * _MEANS * _AREA * _PLACES**2
        self.padding = -count % features
        # Stored with the weights: embeddings of two sketches cannot be compared.
        self.register_buffer("order", torch.randperm(count + self.padding).int())
        self.register_buffer("signs", (torch.randint(2, (count + self.padding,)) * 2 - 1).to(torch.int8))
        self.register_buffer("rates", torch.stack([_rates(), _rates()]))
        self.register_buffer("basis", _basis(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        with torch.autocast(images.device.type, enabled=False):
            parts = self.windows(images.float()) * (self.places + self.frequencies + self.means).exp()
            mixed = F.pad(parts.flatten(1), (0, self.padding))[:, self.order] * self.signs
            return mixed.unflatten(1, (-1, self.features)).sum(dim=1) / _PLACES

    def windows(self, images: Tensor) -> Tensor:
        """Return unit vectors of all windows, (N, 2, 2, 49, 20, 20)."""
        small = F.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
        scored = zscore_batch(small)
        extent = (scored.amax((1, 2, 3)) - scored.amin((1, 2, 3)))[:, None, None, None]
        least_mean, least_deviation = (k * extent / math.sqrt(2) for k in (K1, K2))
        mean = F.avg_pool2d(scored, WINDOW, _STRIDE)
        contrast = F.conv2d(scored, self.basis, stride=_STRIDE) / math.sqrt(_AREA - 1)
        deviation = (contrast.square().sum(dim=1, keepdim=True) + least_deviation**2).sqrt()
        level = (mean**2 + least_mean**2).sqrt()
        contrast = torch.cat([contrast, least_deviation.expand_as(mean)], dim=1) / deviation
        means = torch.cat([mean, least_mean.expand_as(mean)], dim=1) / level
        phase = self.rates[0] * level.log() + self.rates[1] * deviation.log()
        phases = torch.cat([phase.cos(), phase.sin()], dim=1)
        return phases[:, :, None, None] * (means[:, :, None] * contrast[:, None])[:, None]


def _rates() -> Tensor:
    """Draw one number of the hyperbolic secant distribution for each window, evenly over its quantiles: float32 (20, 20)."""
    quantiles = (torch.randperm(_PLACES**2) + 0.5) / _PLACES**2
    return (2 / math.pi * (math.pi / 2 * quantiles).tan().log()).view(_PLACES, _PLACES)


def _basis() -> Tensor:
    """Return the cosine basis of a window but for its mean, float32 (48, 1, 7, 7); orthonormal."""
    units = np.eye(_AREA).reshape(_AREA, WINDOW, WINDOW)
    waves = idctn(units, axes=(1, 2), norm="ortho")[1:, None]
    return torch.from_numpy(waves.astype(np.float32))
