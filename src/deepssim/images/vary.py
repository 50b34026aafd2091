"""New aligned images from old ones, so that an encoder sees more anatomies, and more ways to resemble, than there are.

Not here: misalignment (augment.py), which changes how an image lies and not what it shows; which images belong together
(encoders/families.py).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from deepssim.config.choices import Distortion
from deepssim.config.distortions import DistortionConfig
from deepssim.images import augment

# Displacements are shares of half the image side, as `grid_sample` counts.
_BEND = 0.06  # standard deviation of the displacement at 4x4 control points
_SCALE = 0.06  # standard deviation of the change of size and of shear
_DEFORMED = (
    0.5  # share of families that are deformed as a whole; the others keep their sharpness, which resampling takes
)
_BLENDED = 0.2  # share of members that are mixed with any other image
_LEAST_SHARE = 0.4  # of its own that a mixed image keeps
_BENT = 0.12  # share of members that are deformed on their own
_MOST_BENT = 0.4  # of a whole deformation
_NOISY = 0.3
_LEAST_NOISE, _MOST_NOISE = (
    0.002,
    0.06,
)  # standard deviation, even on a logarithmic scale: the least counts most in SSIM
_BLUR_AND_CONTRAST = (
    DistortionConfig(kind=Distortion.BLUR, probability=0.15, strength=1.3),
    DistortionConfig(kind=Distortion.GAMMA, probability=0.15, strength=0.4),
)


def vary_families(images: Tensor, members: int) -> Tensor:
    """Deform families as wholes, and each member but the first in ways that a generator may change an image.

    The SSIM of the results is unknown and must be computed; it covers the range between copies and strangers.

    Args:
        images: floating point, shape (G * members, 1, H, W), 0 to 1; a family's members follow each other.
        members: images per family; the first of each is what the others are like.

    Returns:
        The same shape, 0 to 1; random numbers come from torch's global generator.
    """
    count = len(images)
    free = torch.arange(count) % members != 0
    whole = _deformation(images[::members]).repeat_interleave(members, dim=0)
    deformed = (torch.rand(count // members) < _DEFORMED).repeat_interleave(members)
    images = augment.change_some(deformed.to(images.device), images, _sample(whole))
    share = (_LEAST_SHARE + (1 - _LEAST_SHARE) * torch.rand(count, 1, 1, 1)).to(images)
    mixed = share * images + (1 - share) * images[torch.randint(count, (count,))]
    images = torch.where((free & (torch.rand(count) < _BLENDED))[:, None, None, None].to(images.device), mixed, images)
    straight = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(images.shape), align_corners=False).to(images)
    amount = _MOST_BENT * torch.rand(count, 1, 1, 1).to(images)
    bent = straight + amount * (_deformation(images) - straight)
    images = augment.change_some((free & (torch.rand(count) < _BENT)).to(images.device), images, _sample(bent))
    drawn = augment.draw(count, _BLUR_AND_CONTRAST)
    noise = _LEAST_NOISE * (_MOST_NOISE / _LEAST_NOISE) ** torch.rand(count, 1, 1, 1)
    noise = noise * (torch.rand(count, 1, 1, 1) < _NOISY) * torch.randn(images.shape)
    changed = (augment.apply(images, drawn.to(images.device)) + noise.to(images)).clamp(0, 1)
    return torch.where(free[:, None, None, None].to(images.device), changed, images.clamp(0, 1))


def _deformation(images: Tensor) -> Tensor:
    """Draw a smooth deformation for each image: sampling grid (N, H, W, 2)."""
    count = len(images)
    linear = torch.eye(2, 3) + torch.randn(count, 2, 3) * torch.tensor([_SCALE, _SCALE, 0.0])
    control = torch.randn(count, 2, 4, 4) * _BEND
    bend = F.interpolate(control, size=images.shape[2:], mode="bicubic", align_corners=True)
    grid = F.affine_grid(linear, list(images.shape), align_corners=False) + bend.permute(0, 2, 3, 1)
    return grid.to(images)


def _sample(grid: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images, rows: F.grid_sample(images, grid[rows], align_corners=False)
