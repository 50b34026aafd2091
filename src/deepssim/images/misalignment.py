"""Parameters of the distortion of images.

Not here: drawing and applying them (augment.py).
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

CONTROL_POINTS = 3  # of a bias field along each side


@dataclass(frozen=True)
class Misalignment:
    """Parameters of the distortion of each of N images.

    Attributes:
        flip_rows: bool (N,), flip upside down.
        flip_columns: bool (N,), flip left to right.
        degrees: float32 (N,), anti-clockwise rotation, 0 for none.
        shift: float32 (N, 2), shift right and down as a fraction of width and height, 0 for none.
        scale: float32 (N, 2), magnification along width and height, 1 for none.
        gamma: float32 (N,), exponent of intensities from 0 to 1, 1 for none.
        bias: float32 (N, 3, 3), natural logarithm of an intensity factor at control points, 0 for none.
        blur: float32 (N,), standard deviation in pixels, 0 for none.
        noise: float32 (N,), standard deviation as a fraction of the intensity range, 0 for none.
        noise_seed: int64 (N,), seed of the noise.
        quality: float32 (N,), JPEG quality, 1 to 100; above 100 for no compression.
    """

    flip_rows: Tensor
    flip_columns: Tensor
    degrees: Tensor
    shift: Tensor
    scale: Tensor
    gamma: Tensor
    bias: Tensor
    blur: Tensor
    noise: Tensor
    noise_seed: Tensor
    quality: Tensor

    @classmethod
    def none(cls, count: int) -> "Misalignment":
        """Return parameters that leave `count` images unchanged."""
        zeros = torch.zeros(count)
        return cls(
            flip_rows=zeros.bool(), flip_columns=zeros.bool(), degrees=zeros, shift=torch.zeros(count, 2),
            scale=torch.ones(count, 2), gamma=zeros + 1, bias=torch.zeros(count, CONTROL_POINTS, CONTROL_POINTS), blur=zeros,
            noise=zeros, noise_seed=zeros.long(), quality=zeros + 101,
        )  # fmt: skip

    def to(self, device: torch.device) -> "Misalignment":
        """Return a copy on a device."""
        return Misalignment(**{item.name: getattr(self, item.name).to(device) for item in fields(self)})
