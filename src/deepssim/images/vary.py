"""Random variations of the image content: deformation, blending, noise, blur and contrast, which lower SSIM by degrees.

Not here: misalignment, which leaves the content unchanged (augment.py); the composition of families (encoders/families.py).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from deepssim.config.choices import Distortion
from deepssim.config.distortions import DistortionConfig
from deepssim.images import augment

_BEND = 0.06  # standard deviation of the displacement at 4x4 control points, in half sides as for `grid_sample`
_SCALE = 0.06  # standard deviation of the entries of the affine map
_DEFORMED = 0.5  # fraction of families that are deformed as a whole; the others are not blurred by resampling
_BLENDED = 0.2  # fraction of members that are blended with any image of the batch
_MIN_WEIGHT = 0.4  # of a blended member's own image
_BENT = 0.12  # fraction of members that are deformed individually
_MAX_BEND = 0.4  # of such a deformation, relative to that of a family
_NOISY = 0.3  # fraction of members with noise
# Standard deviation, log-uniform between these limits: SSIM is most sensitive to the first traces of noise.
_MIN_NOISE, _MAX_NOISE = 0.002, 0.06
_BLUR_AND_CONTRAST = (
    DistortionConfig(kind=Distortion.BLUR, probability=0.15, strength=1.3),
    DistortionConfig(kind=Distortion.GAMMA, probability=0.15, strength=0.4),
)


def vary_families(images: Tensor, members: int) -> Tensor:
    """Deform families as a whole, and vary all members but the first in ways in which generated copies differ.

    The SSIM within a family must be computed afterwards; it ranges from copies to unrelated images. Random numbers come from
    torch's global generator.

    Args:
        images: floating point, shape (G * members, 1, H, W), 0 to 1, with the members of a family in sequence.
        members: images per family.

    Returns:
        Same shape and dtype, 0 to 1.
    """
    count = len(images)
    free = torch.arange(count) % members != 0
    whole = _deformation(images[::members]).repeat_interleave(members, dim=0)
    deformed = (torch.rand(count // members) < _DEFORMED).repeat_interleave(members)
    images = augment.change_some(deformed.to(images.device), images, _sample(whole))
    weight = (_MIN_WEIGHT + (1 - _MIN_WEIGHT) * torch.rand(count, 1, 1, 1)).to(images)
    blended = weight * images + (1 - weight) * images[torch.randint(count, (count,))]
    chosen = (free & (torch.rand(count) < _BLENDED))[:, None, None, None].to(images.device)
    images = torch.where(chosen, blended, images)
    straight = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(images.shape), align_corners=False).to(images)
    amount = _MAX_BEND * torch.rand(count, 1, 1, 1).to(images)
    bent = straight + amount * (_deformation(images) - straight)
    images = augment.change_some((free & (torch.rand(count) < _BENT)).to(images.device), images, _sample(bent))
    drawn = augment.draw(count, _BLUR_AND_CONTRAST)
    noise = _MIN_NOISE * (_MAX_NOISE / _MIN_NOISE) ** torch.rand(count, 1, 1, 1)
    noise = noise * (torch.rand(count, 1, 1, 1) < _NOISY) * torch.randn(images.shape)
    changed = (augment.apply(images, drawn.to(images.device)) + noise.to(images)).clamp(0, 1)
    return torch.where(free[:, None, None, None].to(images.device), changed, images.clamp(0, 1))


def _deformation(images: Tensor) -> Tensor:
    """Draw a smooth deformation for each image, a sampling grid (N, H, W, 2)."""
    count = len(images)
    linear = torch.eye(2, 3) + torch.randn(count, 2, 3) * torch.tensor([_SCALE, _SCALE, 0.0])
    control = torch.randn(count, 2, 4, 4) * _BEND
    bend = F.interpolate(control, size=images.shape[2:], mode="bicubic", align_corners=True)
    grid = F.affine_grid(linear, list(images.shape), align_corners=False) + bend.permute(0, 2, 3, 1)
    return grid.to(images)


def _sample(grid: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images, rows: F.grid_sample(images, grid[rows], align_corners=False)
