"""Random misalignment of images: flips, rotation and contrast, batched on the device.

Parameters are drawn apart from being applied. Training draws them for a whole batch; evaluation draws them per image
from a generator of its own, so that a misaligned copy does not depend on its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import kornia.enhance
import kornia.geometry.transform
import numpy as np
import torch
from torch import Tensor

from deepssim.config import AugmentationConfig
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.seeds import torch_generator


@dataclass(frozen=True)
class Misalignment:
    """What happens to each of N images.

    Attributes:
        flip_rows: bool (N,), upside down.
        flip_columns: bool (N,), left to right.
        degrees: float32 (N,), anti-clockwise rotation, 0 for none.
        gamma: float32 (N,), exponent of intensities of 0 to 1, 1 for none.
    """

    flip_rows: Tensor
    flip_columns: Tensor
    degrees: Tensor
    gamma: Tensor

    def to(self, device: torch.device) -> "Misalignment":
        """Move to a device."""
        return Misalignment(**{item.name: getattr(self, item.name).to(device) for item in fields(self)})


def draw(count: int, options: AugmentationConfig, generator: torch.Generator | None = None) -> Misalignment:
    """Draw the misalignment of `count` images; without a generator, from torch's global one."""
    uniform = torch.rand(6, count, generator=generator)
    low, high = options.gamma_range
    return Misalignment(
        flip_rows=uniform[0] < options.flip_probability,
        flip_columns=uniform[1] < options.flip_probability,
        degrees=torch.where(
            uniform[2] < options.rotation_probability, (2 * uniform[3] - 1) * options.rotation_degrees, 0.0
        ),
        gamma=torch.where(uniform[4] < options.gamma_probability, low + (high - low) * uniform[5], 1.0),
    )


def apply(images: Tensor, misalignment: Misalignment) -> Tensor:
    """Misalign images.

    Args:
        images: floating point, shape (N, 1, H, W), 0 to 1.
        misalignment: for N images, on the same device.

    Returns:
        Same shape and type, 0 to 1; corners that a rotation uncovers are black.
    """
    images = torch.where(misalignment.flip_rows[:, None, None, None], images.flip(2), images)
    images = torch.where(misalignment.flip_columns[:, None, None, None], images.flip(3), images)
    turned = misalignment.degrees != 0
    if turned.any():  # resampling blurs, so images without rotation must not pass through it
        images = images.clone()
        images[turned] = kornia.geometry.transform.rotate(images[turned], misalignment.degrees[turned])
    return kornia.enhance.adjust_gamma(images.clamp(0, 1), misalignment.gamma)


def misalign_pack(pack: ImagePack, options: AugmentationConfig, seed: int, *, batch_size: int = 256) -> ImagePack:
    """Return a copy of a pack in which every image is misaligned independently.

    Each image's change depends on `seed` and its key only.
    """
    bit_depth = 8 * pack.images.dtype.itemsize
    copies = []
    for start in range(0, len(pack.keys), batch_size):
        rows = slice(start, start + batch_size)
        images = torch.from_numpy(ImagePack(pack.images[rows], pack.keys[rows]).unit())[:, None]
        copies.append(quantise(apply(images, _draw_each(pack.keys[rows], options, seed))[:, 0].numpy(), bit_depth))
    return ImagePack(np.concatenate(copies), pack.keys)


def _draw_each(keys: Sequence[str], options: AugmentationConfig, seed: int) -> Misalignment:
    single = [draw(1, options, torch_generator(seed, "misalign", key)) for key in keys]
    return Misalignment(**{f.name: torch.cat([getattr(one, f.name) for one in single]) for f in fields(Misalignment)})
