"""What the autoencoder is trained on besides absolute differences.

Not here: how the terms are weighed and the training (autoencoder.py).
"""

from collections.abc import Callable
from pathlib import Path

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from deepssim.config.choices import Perceptual
from deepssim.errors import ConfigError

_SCALES = 3  # resolutions at which edges are compared: full, half and a quarter
_SQUEEZENET = "squeezenet1_1-b8a52dc0.pth"  # torchvision's name of the weights


def kl_divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Divergence of the latent Gaussians from the standard one, summed over a latent and averaged over the batch.

    Args:
        mean: shape (N, C, h, w).
        deviation: standard deviation, same shape, positive.
    """
    per_value = 0.5 * (mean**2 + deviation**2 - 2 * torch.log(deviation) - 1)
    return per_value.flatten(1).sum(1).mean()


def gradient_difference(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of the image gradients (Sobel) at full, half and quarter resolution.

    A blurred reconstruction differs little in grey values but much in its edges (Mathieu et al., arXiv:1511.05440).

    Args:
        first, second: shape (N, 1, H, W), floating point.

    Returns:
        One number, 0 for equal images; averaged over the resolutions that the images have pixels for.
    """
    terms = []
    for _ in range(_SCALES):
        terms.append(F.l1_loss(kornia.filters.spatial_gradient(first), kornia.filters.spatial_gradient(second)))
        if min(first.shape[2:]) < 4:
            break
        first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
    return torch.stack(terms).mean()


def perceptual_loss(kind: Perceptual) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the perceptual term: a function of reconstructions and images, both (N, 1, H, W), 0 to 1.

    Raises:
        ConfigError: if it needs packages or weights that are not there.
    """
    if kind is Perceptual.NONE:
        return None
    return gradient_difference if kind is Perceptual.GRADIENT else _squeeze()


def _squeeze() -> Callable[[Tensor, Tensor], Tensor]:
    """Return LPIPS with SqueezeNet (Zhang et al., arXiv:1801.03924) by MONAI; nothing is downloaded."""
    advice = "or set vae.perceptual to 'gradient', which needs nothing"
    try:
        import lpips  # noqa: F401
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:  # torchvision of another torch raises RuntimeError
        raise ConfigError(
            f"vae.perceptual 'squeeze' needs torchvision and lpips ({' '.join(str(error).split())}); "
            f"install 'deepssim[lpips]', {advice}"
        ) from None
    weights = Path(torch.hub.get_dir(), "checkpoints", _SQUEEZENET)
    if not weights.exists():
        raise ConfigError(
            f"{weights}: the weights of vae.perceptual 'squeeze' are not there; download "
            f"https://download.pytorch.org/models/{_SQUEEZENET} to this place, {advice}"
        )
    from monai.losses.perceptual import PerceptualLoss

    network = PerceptualLoss(spatial_dims=2, network_type="squeeze").eval().requires_grad_(False)

    def loss(first: Tensor, second: Tensor) -> Tensor:
        return network.to(first.device)(first.float(), second.float())

    return loss
