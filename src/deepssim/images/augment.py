"""Random distortions of images, batched on the device: pose, intensity, sharpness.

The config lists the distortions. Drawing their parameters is separate from applying them: training draws them for a whole
batch, evaluation for each image from its own generator, so that a distorted copy does not depend on the rest of its batch.

| kind | strength s | uniform distribution of |
| --- | --- | --- |
| flip | not used | each axis flipped or not |
| rotation | degrees | angle from -s to s, anti-clockwise |
| translation | fraction of each side | shift from -s to s, for each axis |
| scale | relative change | magnification from 1 - s to 1 + s |
| crop | fraction of each side | removed fraction from 0 to s and its position; the remainder is enlarged to fill the image |
| gamma | change of exponent | exponent from 1 - s to 1 + s |
| bias_field | relative change | control points of a smooth factor from 1 - s to 1 + s |
| blur | pixels | standard deviation from 0 to s |
| noise | fraction of the intensity range | standard deviation from 0 to s |
| jpeg | 1 is the worst | quality from 100 down to 100 - 99 s |

Volumes are distorted in the planes of one of their axes, drawn for each, with the same parameters in all planes; not by jpeg.

Not here: variations of the image content (vary.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import fields

import kornia.enhance
import kornia.filters
import kornia.geometry.transform
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deepssim.config.choices import Distortion
from deepssim.config.distortions import MOST_STRENGTH, DistortionConfig
from deepssim.images.misalignment import CONTROL_POINTS, Misalignment
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.seeds import torch_generator

_BLOCK = 16  # side of the blocks that JPEG compresses
_SEEDS = 2**62


def draw(count: int, distortions: Sequence[DistortionConfig], generator: torch.Generator | None = None) -> Misalignment:
    """Draw random distortions.

    Args:
        count: number of images N.
        distortions: kinds, probabilities and strengths; of two entries of a kind, the later one replaces the earlier.
        generator: random generator; torch's global one unless given.
    """
    values = {item.name: getattr(Misalignment.none(count), item.name) for item in fields(Misalignment)}
    for entry in distortions:
        happens = torch.rand(2, count, generator=generator) < entry.probability
        uniform = 2 * torch.rand(count, 9, generator=generator) - 1  # -1 to 1
        for name, value, chosen in _parameters(entry, uniform, happens):
            values[name] = torch.where(chosen.view(-1, *[1] * (value.ndim - 1)), value, values[name])
    if any(entry.kind is Distortion.NOISE for entry in distortions):
        values["noise_seed"] = torch.randint(_SEEDS, (count,), generator=generator)
    return Misalignment(**values)


def _parameters(entry: DistortionConfig, uniform: Tensor, happens: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    """Map uniform random numbers in [-1, 1], (N, 9), to parameters: name, values, mask of the images they apply to."""
    strength, first = entry.strength, happens[0]
    signed, positive = uniform[:, 0] * strength, (uniform[:, 0] + 1) / 2 * strength
    match entry.kind:
        case Distortion.FLIP:
            return [("flip_rows", happens[0], happens[0]), ("flip_columns", happens[1], happens[1])]
        case Distortion.ROTATION:
            return [("degrees", signed, first)]
        case Distortion.TRANSLATION:
            return [("shift", uniform[:, :2] * strength, first)]
        case Distortion.SCALE:
            return [("scale", 1 + signed[:, None].expand(-1, 2), first)]
        case Distortion.CROP:
            cut = (uniform[:, :2] + 1) / 2 * strength
            # The crop may lie anywhere inside the image; magnification also magnifies the shift of its centre.
            return [("scale", 1 / (1 - cut), first), ("shift", uniform[:, 2:4] * cut / 2 / (1 - cut), first)]
        case Distortion.GAMMA:
            return [("gamma", 1 + signed, first)]
        case Distortion.BIAS_FIELD:
            return [("bias", torch.log1p(uniform * strength).view(-1, CONTROL_POINTS, CONTROL_POINTS), first)]
        case Distortion.BLUR:
            return [("blur", positive, first)]
        case Distortion.NOISE:
            return [("noise", positive, first)]
        case Distortion.JPEG:
            return [("quality", 100 - 99 * positive, first)]


def apply(images: Tensor, misalignment: Misalignment) -> Tensor:
    """Distort images: pose first, then intensities, then blur, noise and compression, the order of acquisition and storage.

    Args:
        images: floating point, shape (N, 1, H, W), 0 to 1.
        misalignment: parameters for N images, on the same device.

    Returns:
        float32, same shape, 0 to 1; pixels from outside the image are black.
    """
    with torch.autocast(images.device.type, enabled=False):  # in half precision a rotation is off by pixels
        return _apply(images.float(), misalignment)


def _apply(images: Tensor, change: Misalignment) -> Tensor:
    images = torch.where(change.flip_rows[:, None, None, None], images.flip(2), images)
    images = torch.where(change.flip_columns[:, None, None, None], images.flip(3), images)
    moved = (change.degrees != 0) | (change.shift != 0).any(1) | (change.scale != 1).any(1)
    images = change_some(
        moved, images, lambda part, rows: _warp(part, change.degrees[rows], change.shift[rows], change.scale[rows])
    )
    images = kornia.enhance.adjust_gamma(images.clamp(0, 1), change.gamma)
    biased = change.bias.flatten(1).any(1)
    images = change_some(biased, images, lambda part, rows: part * _bias_field(change.bias[rows], part))
    images = change_some(change.blur > 0, images, lambda part, rows: _blur(part, change.blur[rows]))
    images = change_some(
        change.noise > 0,
        images,
        lambda part, rows: part + _noise(part, change.noise[rows], change.noise_seed[rows]),
    ).clamp(0, 1)
    return change_some(change.quality <= 100, images, lambda part, rows: _compress(part, change.quality[rows]))


def change_some(chosen: Tensor, images: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Change the chosen images only; the others remain identical bit by bit.

    Args:
        chosen: bool (N,).
        images: shape (N, ...).
        change: function of the chosen images and of `chosen` that returns changed images of the same shape.

    Returns:
        Same shape and dtype as `images`, which are not modified.
    """
    if not chosen.any():
        return images
    images = images.clone()
    images[chosen] = change(images[chosen], chosen).to(images.dtype)
    return images


def misalign_pack(
    pack: ImagePack, distortions: Sequence[DistortionConfig], seed: int, *, batch_size: int = 256
) -> ImagePack:
    """Return a copy of a pack in which every image is distorted independently.

    Args:
        pack: images or volumes.
        distortions: kinds, probabilities and strengths; for volumes, no jpeg.
        seed: the config's seed; an image's distortion depends on it and the image's key only.
        batch_size: images at a time.
    """
    if pack.spatial_dims == 3:
        volumes = [
            _misaligned(volume, key, distortions, seed) for volume, key in zip(pack.images, pack.keys, strict=True)
        ]
        return ImagePack(np.stack(volumes), pack.keys)
    copies = []
    for start in range(0, len(pack.keys), batch_size):
        rows = slice(start, start + batch_size)
        images = torch.from_numpy(ImagePack(pack.images[rows], pack.keys[rows]).unit())[:, None]
        changed = apply(images, _draw_each(pack.keys[rows], distortions, seed))[:, 0].numpy()
        copies.append(quantise(changed, pack.bit_depth))
    return ImagePack(np.concatenate(copies), pack.keys)


def _misaligned(volume: np.ndarray, key: str, distortions: Sequence[DistortionConfig], seed: int) -> np.ndarray:
    """Distort a volume (D, H, W): the planes of an axis are channels of one image, which share its parameters."""
    axis = int(torch.randint(3, (), generator=torch_generator(seed, "misalign axis", key)))
    planes = ImagePack(np.moveaxis(volume, axis, 0)[None], [key])
    changed = apply(torch.from_numpy(planes.unit()), _draw_each([key], distortions, seed))[0].numpy()
    return np.moveaxis(quantise(changed, planes.bit_depth), 0, axis)


def _draw_each(keys: Sequence[str], distortions: Sequence[DistortionConfig], seed: int) -> Misalignment:
    single = [draw(1, distortions, torch_generator(seed, "misalign", key)) for key in keys]
    return Misalignment(**{f.name: torch.cat([getattr(one, f.name) for one in single]) for f in fields(Misalignment)})


def _warp(images: Tensor, degrees: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Rotate, magnify and shift in one step, so that pixels are interpolated only once."""
    height, width = images.shape[2:]
    size = torch.tensor([width, height], dtype=torch.float32, device=images.device)
    matrix = kornia.geometry.transform.get_affine_matrix2d(
        shift * (size - 1), ((size - 1) / 2).expand(len(images), 2), scale, -degrees
    )
    return kornia.geometry.transform.warp_affine(
        images, matrix[:, :2].to(images.dtype), (height, width), align_corners=True
    )


def _bias_field(control: Tensor, images: Tensor) -> Tensor:
    """Return a smooth intensity factor for every pixel, (N, 1, H, W)."""
    return F.interpolate(control[:, None].exp(), size=images.shape[2:], mode="bicubic", align_corners=True).to(images)


def _blur(images: Tensor, deviation: Tensor) -> Tensor:
    # All images have the same window size, so that the result does not depend on the rest of the batch.
    sigma = deviation[:, None].expand(-1, 2).to(images.dtype)
    window = 2 * round(3 * MOST_STRENGTH[Distortion.BLUR]) + 1
    return kornia.filters.gaussian_blur2d(images, window, sigma, border_type="replicate")


def _noise(images: Tensor, deviation: Tensor, seeds: Tensor) -> Tensor:
    """Return Gaussian noise that depends on each image's seed only, not on the device."""
    drawn = [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(drawn).to(images) * deviation[:, None, None, None]


def _compress(images: Tensor, quality: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = F.pad(images, (0, -width % _BLOCK, 0, -height % _BLOCK), mode="replicate").expand(-1, 3, -1, -1)
    return kornia.enhance.jpeg_codec_differentiable(padded.float(), quality)[:, :1, :height, :width].clamp(0, 1)
