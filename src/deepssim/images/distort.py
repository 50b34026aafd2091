"""Distortions that could hide a copy, one at a time, for the audit's positive controls.

Not here: applying distortions, and drawing several at random (augment.py).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from deepssim.images.augment import apply
from deepssim.images.misalignment import Misalignment
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.seeds import torch_generator

UNCHANGED = "none"
_DEGREES = 10.0  # largest rotation, as in the misaligned evaluation of arXiv:2509.16582; the smallest is half of it
_GAMMAS = (0.5, 1.5)  # extremes of the same evaluation
_CROP = 0.1  # fraction of each side that is removed; the remainder is enlarged to fill the image
_NOISE = 0.03  # standard deviation, fraction of the intensity range
_BLUR = 64.0  # longer side divided by the standard deviation of the blur: 1 pixel at 64 pixels
_JPEG_QUALITY = 50.0

Change = Callable[[Tensor, int], dict[str, Any]]


def distort(pack: ImagePack, name: str, seed: int) -> ImagePack:
    """Return a copy of a pack with one distortion applied to every image.

    Args:
        pack: images.
        name: one of `DISTORTIONS`.
        seed: the config's seed; the change of an image depends on it, the distortion and the image's key only.
    """
    generators = [torch_generator(seed, "distort", name, key) for key in pack.keys]
    uniform = torch.stack([torch.rand(4, generator=generator) for generator in generators])
    change = replace(Misalignment.none(len(pack.keys)), **DISTORTIONS[name](uniform, max(pack.images.shape[1:])))
    images = apply(torch.from_numpy(pack.unit())[:, None], change)
    return ImagePack(quantise(images[:, 0].numpy(), pack.bit_depth), pack.keys)


def _all(uniform: Tensor) -> Tensor:
    return torch.ones(len(uniform), dtype=torch.bool)


def _rotation(uniform: Tensor, side: int) -> dict[str, Tensor]:
    return {"degrees": _DEGREES * (1 + uniform[:, 0]) / 2 * torch.where(uniform[:, 1] < 0.5, -1.0, 1.0)}


def _crop(uniform: Tensor, side: int) -> dict[str, Tensor]:
    # The crop may lie anywhere inside the image; magnification also magnifies the shift of its centre.
    shift = (uniform[:, :2] - 0.5) * _CROP / (1 - _CROP)
    return {"scale": torch.full((len(uniform), 2), 1 / (1 - _CROP)), "shift": shift}


DISTORTIONS: dict[str, Change] = {
    UNCHANGED: lambda uniform, side: {},
    "flip left-right": lambda uniform, side: {"flip_columns": _all(uniform)},
    "flip up-down": lambda uniform, side: {"flip_rows": _all(uniform)},
    "rotation": _rotation,
    "contrast": lambda uniform, side: {"gamma": torch.where(uniform[:, 0] < 0.5, *_GAMMAS)},
    "crop": _crop,
    "noise": lambda uniform, side: {
        "noise": torch.full((len(uniform),), _NOISE),
        "noise_seed": (uniform[:, 0].double() * 2**53).long(),
    },
    "blur": lambda uniform, side: {"blur": torch.full((len(uniform),), side / _BLUR)},
    "JPEG": lambda uniform, side: {"quality": torch.full((len(uniform),), _JPEG_QUALITY)},
}
"""Functions of uniform random numbers in [0, 1), (N, 4), and the longer side in pixels; they return `Misalignment` fields."""
