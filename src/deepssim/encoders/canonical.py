"""Bring images to a common pose before they are embedded.

SSIM compares aligned images, so an encoder that sees misaligned ones has to undo flips and rotations somewhere. A small
network does it here on its own: it learns from the misalignment that training draws, whose parameters are known, and the
encoder behind it sees nearly aligned images only. Its choice among the four flips of an image cannot depend on which of
them was given, so an image and its mirror image come to the same pose, whatever the network has learned.

Not here: the encoder (deepssim.py), the misalignment of training (images/augment.py).
"""

from dataclasses import dataclass

import kornia.geometry.transform
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.images.augment import Misalignment
from deepssim.images.standardize import zscore_batch

_FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))  # axes that each of the four flips turns around
_SIDE = 32  # pixels that the network sees; poses need no more
_WIDTH = 16  # channels of its first layer
_HIDDEN = 128
_DEGREES = 10.0  # one unit of its output
_ANGLE_WEIGHT = 0.02  # of an error of one degree, beside one nat of the choice of a flip


@dataclass(frozen=True)
class Pose:
    """How images lie, as the network sees it.

    Attributes:
        scores: float32 (N, 4), higher for the flip that brings the image to the common pose.
        degrees: float32 (N, 4), anti-clockwise rotation of each flip against the common pose.
    """

    scores: Tensor
    degrees: Tensor

    def loss(self, truth: Misalignment) -> Tensor:
        """Compare with the misalignment that was applied: a flip, then a rotation."""
        flip = truth.flip_rows.long() + 2 * truth.flip_columns.long()
        # A flip turns a rotation around, two flips turn it back.
        degrees = torch.where(truth.flip_rows ^ truth.flip_columns, -truth.degrees, truth.degrees)
        seen = self.degrees.gather(1, flip[:, None])[:, 0]
        return F.cross_entropy(self.scores, flip) + _ANGLE_WEIGHT * F.smooth_l1_loss(seen, degrees)


class Canonicalizer(nn.Module):
    """Turn images back to a common pose.

    Input: float32 (N, 1, H, W), 0 to 1. Output: the same images, flipped and rotated.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for width in (_WIDTH, 2 * _WIDTH, 4 * _WIDTH):
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(4, width), nn.GELU()]
            channels = width
        self.network = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * (_SIDE // 8) ** 2, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, 2)
        )

    def pose(self, images: Tensor) -> Pose:
        """Look at all four flips of every image."""
        small = F.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
        flips = torch.cat([small.flip(axes) if axes else small for axes in _FLIPS])
        # A choice must not depend on rounding: in half precision it would differ between batches.
        with torch.autocast(images.device.type, enabled=False):
            scores, degrees = self.network(zscore_batch(flips.float())).view(len(_FLIPS), -1, 2).permute(2, 1, 0)
        return Pose(scores, degrees * _DEGREES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the images in the common pose; no gradient passes."""
        return self.turn(images, self.pose(images))

    @torch.no_grad()
    def turn(self, images: Tensor, pose: Pose) -> Tensor:
        """Flip and rotate images as their pose says."""
        chosen = pose.scores.argmax(dim=1)
        for number, axes in enumerate(_FLIPS):
            if axes:
                images = torch.where((chosen == number)[:, None, None, None], images.flip(axes), images)
        degrees = pose.degrees.gather(1, chosen[:, None])[:, 0]
        with torch.autocast(images.device.type, enabled=False):
            return kornia.geometry.transform.rotate(images.float(), -degrees)
