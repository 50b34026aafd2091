"""New aligned image pairs from old ones, so that an encoder sees more anatomies than there are patients.

Not here: misalignment (augment.py), which changes each image of a pair on its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Chosen on virtual patients; displacements are shares of half the image side, as `grid_sample` counts.
_BEND = 0.06  # standard deviation of the displacement at 4x4 control points
_SCALE = 0.06  # standard deviation of the change of size and of shear
_DEFORMED = 0.5  # share of pairs; the others keep their sharpness, which resampling takes
_BLENDED = 0.3  # share of pairs whose synthetic image is mixed with another one
_BLENDED_ALONE = 0.8  # the same for images that are their own partner
_LEAST_SHARE = 0.4  # of its own that a mixed image keeps


def vary_pairs(real: Tensor, synthetic: Tensor, alone: Tensor) -> tuple[Tensor, Tensor]:
    """Deform both images of some pairs alike, and blend some synthetic images with others.

    The SSIM of the results is unknown and must be computed; it covers the range between copies and strangers evenly.

    Args:
        real: floating point, shape (N, 1, H, W), 0 to 1.
        synthetic: the same shape; the partner of each real image.
        alone: bool, shape (N,); the partner is the image itself, so it is blended more often.

    Returns:
        Both, changed; random numbers come from torch's global generator.
    """
    grid = _deformation(real)
    count = len(real)
    deformed = _choose(count, _DEFORMED, real)
    real, synthetic = (
        torch.where(deformed, F.grid_sample(images, grid, align_corners=False), images) for images in (real, synthetic)
    )
    other = torch.where(_choose(count, 0.5, real), synthetic[torch.randperm(count)], real)
    share = torch.where(
        _choose(count, torch.where(alone, _BLENDED_ALONE, _BLENDED), real),
        _LEAST_SHARE + (1 - _LEAST_SHARE) * torch.rand(count, 1, 1, 1).to(real),
        1.0,
    )
    return real, share * synthetic + (1 - share) * other


def _deformation(images: Tensor) -> Tensor:
    """Draw a smooth deformation for each image: sampling grid (N, H, W, 2)."""
    count = len(images)
    linear = torch.eye(2, 3) + torch.randn(count, 2, 3) * torch.tensor([_SCALE, _SCALE, 0.0])
    control = torch.randn(count, 2, 4, 4) * _BEND
    bend = F.interpolate(control, size=images.shape[2:], mode="bicubic", align_corners=True)
    grid = F.affine_grid(linear, list(images.shape), align_corners=False) + bend.permute(0, 2, 3, 1)
    return grid.to(images)


def _choose(count: int, probability: float | Tensor, images: Tensor) -> Tensor:
    """Choose images at random, by one probability or one for each: bool (N, 1, 1, 1)."""
    return (torch.rand(count) < torch.as_tensor(probability).cpu())[:, None, None, None].to(images.device)
