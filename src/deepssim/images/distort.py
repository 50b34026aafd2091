"""What could hide a copy: one distortion at a time, for controls that measure how many hidden copies are found.

Not here: how images are distorted, and distortions drawn at random (augment.py).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from deepssim.images.augment import Misalignment, apply
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.seeds import torch_generator

UNCHANGED = "none"
_DEGREES = 10.0  # most of a rotation, as in the misaligned evaluation of arXiv:2509.16582, and half of it at least
_GAMMAS = (0.5, 1.5)  # likewise
_CROP = 0.1  # share of each side that is cut off; what is left fills the image
_NOISE = 0.03  # standard deviation, share of the full range
_BLUR = 64.0  # sides of an image in one standard deviation of the blur: one pixel of 64
_JPEG_QUALITY = 50.0

Change = Callable[[Tensor, int], dict[str, Any]]


def distort(pack: ImagePack, name: str, seed: int) -> ImagePack:
    """Return a copy of a pack in which every image went through one distortion.

    Args:
        pack: images.
        name: one of `DISTORTIONS`.
        seed: random numbers depend on it, the distortion and each image's key only.
    """
    generators = [torch_generator(seed, "distort", name, key) for key in pack.keys]
    even = torch.stack([torch.rand(4, generator=generator) for generator in generators])
    change = replace(Misalignment.none(len(pack.keys)), **DISTORTIONS[name](even, max(pack.images.shape[1:])))
    images = apply(torch.from_numpy(pack.unit())[:, None], change)
    return ImagePack(quantise(images[:, 0].numpy(), pack.bit_depth), pack.keys)


def _all(even: Tensor) -> Tensor:
    return torch.ones(len(even), dtype=torch.bool)


def _rotation(even: Tensor, side: int) -> dict[str, Tensor]:
    return {"degrees": _DEGREES * (1 + even[:, 0]) / 2 * torch.where(even[:, 1] < 0.5, -1.0, 1.0)}


def _crop(even: Tensor, side: int) -> dict[str, Tensor]:
    # The middle of what is left may lie anywhere that keeps it inside; enlarging moves it further.
    shift = (even[:, :2] - 0.5) * _CROP / (1 - _CROP)
    return {"scale": torch.full((len(even), 2), 1 / (1 - _CROP)), "shift": shift}


DISTORTIONS: dict[str, Change] = {
    UNCHANGED: lambda even, side: {},
    "flip left-right": lambda even, side: {"flip_columns": _all(even)},
    "flip up-down": lambda even, side: {"flip_rows": _all(even)},
    "rotation": _rotation,
    "contrast": lambda even, side: {"gamma": torch.where(even[:, 0] < 0.5, *_GAMMAS)},
    "crop": _crop,
    "noise": lambda even, side: {
        "noise": torch.full((len(even),), _NOISE),
        "noise_seed": (even[:, 0].double() * 2**53).long(),
    },
    "blur": lambda even, side: {"blur": torch.full((len(even),), side / _BLUR)},
    "JPEG": lambda even, side: {"quality": torch.full((len(even),), _JPEG_QUALITY)},
}
"""Each takes even numbers of 0 to 1, (N, 4), and the longer side in pixels, and gives what `Misalignment` changes."""
