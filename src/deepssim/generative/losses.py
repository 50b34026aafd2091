"""Loss terms of the autoencoder: KL divergence and perceptual losses.

Not here: the weights of the terms and the training (autoencoder_training.py).
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
    """Compute the KL divergence of the latent Gaussians from the standard normal distribution.

    Args:
        mean: floating point (N, C, h, w).
        deviation: standard deviation, same shape, positive.

    Returns:
        Scalar in nats, summed over the entries of a latent and averaged over the batch.

    Source: Kingma and Welling, arXiv:1312.6114.
    """
    per_value = 0.5 * (mean**2 + deviation**2 - 2 * torch.log(deviation) - 1)
    return per_value.flatten(1).sum(1).mean()


def gradient_difference(first: Tensor, second: Tensor) -> Tensor:
    """Compute the mean absolute difference of the image gradients (Sobel) at full, half and quarter resolution.

    A blurred reconstruction differs little in grey values but much at edges.

    Args:
        first: floating point (N, 1, H, W).
        second: same shape.

    Returns:
        Scalar, averaged over the resolutions at which the images have more than one pixel; 0 for equal images.

    Source: Mathieu et al., arXiv:1511.05440.
    """
    terms = []
    for _ in range(_SCALES):
        terms.append(F.l1_loss(kornia.filters.spatial_gradient(first), kornia.filters.spatial_gradient(second)))
        if min(first.shape[2:]) < 4:
            break
        first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
    return torch.stack(terms).mean()


def perceptual_loss(kind: Perceptual, spatial_dims: int = 2) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return the perceptual loss, a function of reconstructions and images, both (N, 1, H, W), 0 to 1; None for no loss.

    Args:
        kind: of the loss.
        spatial_dims: 3 for a function of volumes (N, 1, D, H, W), the mean of the loss of their slices along all three axes.

    Raises:
        ConfigError: if packages or weights of this kind are missing.
    """
    if kind is Perceptual.NONE:
        return None
    loss = gradient_difference if kind is Perceptual.GRADIENT else _squeeze()
    if spatial_dims == 2:
        return loss

    def of_slices(first: Tensor, second: Tensor) -> Tensor:
        return torch.stack([loss(_slices(first, axis), _slices(second, axis)) for axis in (2, 3, 4)]).mean()

    return of_slices


def _slices(volumes: Tensor, axis: int) -> Tensor:
    """Return all slices of volumes (N, 1, D, H, W) across an axis as images."""
    return volumes.movedim(axis, 1).flatten(0, 1)


def _squeeze() -> Callable[[Tensor, Tensor], Tensor]:
    """Return MONAI's LPIPS with SqueezeNet (Zhang et al., arXiv:1801.03924); nothing is downloaded."""
    advice = "or set vae.perceptual to 'gradient', which has no requirements (`--perceptual gradient` on a line of ldm-train-vae)"
    try:
        import lpips  # noqa: F401
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
        raise ConfigError(
            f"vae.perceptual 'squeeze' needs torchvision and lpips ({' '.join(str(error).split())}); "
            f"`pip install 'deepssim[lpips]'`, {advice}"
        ) from None
    weights = Path(torch.hub.get_dir(), "checkpoints", _SQUEEZENET)
    if not weights.exists():
        raise ConfigError(
            f"{weights}: the weights of vae.perceptual 'squeeze' are missing; download "
            f"https://download.pytorch.org/models/{_SQUEEZENET} to this path, {advice}"
        )
    from monai.losses.perceptual import PerceptualLoss

    network = PerceptualLoss(spatial_dims=2, network_type="squeeze").eval().requires_grad_(False)

    def loss(first: Tensor, second: Tensor) -> Tensor:
        return network.to(first.device)(first.float(), second.float())

    return loss
