"""What could hide a copy: one distortion at a time, for controls that measure how many hidden copies are found.

Not here: random misalignment in training and evaluation (augment.py).
"""

import io
from collections.abc import Callable
from functools import partial

import kornia.filters
import kornia.geometry.transform
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.seeds import torch_generator

UNCHANGED = "none"
_DEGREES = 10.0  # as in the misaligned evaluation of arXiv:2509.16582
_GAMMAS = (0.5, 1.5)  # likewise
_CROP = 0.9  # side that is left, enlarged to the old size
_NOISE = 0.03  # standard deviation, share of the full range
_BLUR = 64.0  # sides of an image in one standard deviation of the blur: one pixel of 64
_JPEG_QUALITY = 50


def distort(pack: ImagePack, name: str, seed: int) -> ImagePack:
    """Return a copy of a pack in which every image went through one distortion.

    Args:
        pack: images.
        name: one of `DISTORTIONS`.
        seed: random numbers depend on it, the distortion and each image's key only.
    """
    if name == UNCHANGED:
        return pack
    changed = []
    for key, image in zip(pack.keys, pack.unit(), strict=True):
        generator = torch_generator(seed, "distort", name, key)
        changed.append(DISTORTIONS[name](torch.from_numpy(image)[None, None], generator)[0, 0].numpy())
    return ImagePack(quantise(np.stack(changed), pack.bit_depth), pack.keys)


def _none(image: Tensor, generator: torch.Generator) -> Tensor:
    return image


def _flip(axis: int, image: Tensor, generator: torch.Generator) -> Tensor:
    return image.flip(axis)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator))


def _rotate(image: Tensor, generator: torch.Generator) -> Tensor:
    degrees = _uniform(_DEGREES / 2, _DEGREES, generator) * (1 if _uniform(-1, 1, generator) > 0 else -1)
    return kornia.geometry.transform.rotate(image, torch.tensor([degrees]))


def _contrast(image: Tensor, generator: torch.Generator) -> Tensor:
    return image ** _GAMMAS[int(_uniform(0, 2, generator))]


def _crop(image: Tensor, generator: torch.Generator) -> Tensor:
    height, width = image.shape[2:]
    rows, columns = max(1, round(height * _CROP)), max(1, round(width * _CROP))
    top, left = (
        int(_uniform(0, 1, generator) * (full - part + 1)) for full, part in ((height, rows), (width, columns))
    )
    part = image[:, :, top : top + rows, left : left + columns]
    return F.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)


def _noise(image: Tensor, generator: torch.Generator) -> Tensor:
    return (image + _NOISE * torch.randn(image.shape, generator=generator)).clamp(0, 1)


def _blur(image: Tensor, generator: torch.Generator) -> Tensor:
    sigma = max(image.shape[2:]) / _BLUR
    size = 2 * int(np.ceil(3 * sigma)) + 1
    return kornia.filters.gaussian_blur2d(image, (size, size), (sigma, sigma))


def _jpeg(image: Tensor, generator: torch.Generator) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(quantise(image[0, 0].numpy(), 8)).save(buffer, "jpeg", quality=_JPEG_QUALITY)
    with Image.open(buffer) as decoded:
        return torch.from_numpy(np.asarray(decoded, dtype=np.float32) / np.float32(255))[None, None]


DISTORTIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    UNCHANGED: _none,
    "flip left-right": partial(_flip, 3),
    "flip up-down": partial(_flip, 2),
    "rotation": _rotate,
    "contrast": _contrast,
    "crop": _crop,
    "noise": _noise,
    "blur": _blur,
    "JPEG": _jpeg,
}
"""Each takes an image (1, 1, H, W), 0 to 1, and a generator, and gives the same shape and range."""
