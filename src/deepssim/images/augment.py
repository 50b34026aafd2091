"""Random distortions of images, batched on the device: pose, intensity, sharpness.

What happens is a list in the config. Its parameters are drawn apart from being applied: training draws them for a whole
batch, evaluation for each image from a generator of its own, so that a distorted copy does not depend on its neighbours.

| kind | strength s | drawn evenly from |
| --- | --- | --- |
| flip | not used | each axis or not |
| rotation | degrees | -s to s, anti-clockwise |
| translation | share of each side | -s to s, for each axis |
| scale | share | 1 - s to 1 + s |
| crop | share of each side | 0 to s, cut off somewhere; what remains fills the image |
| gamma | exponent | 1 - s to 1 + s |
| bias_field | share | a smooth factor between 1 - s and 1 + s |
| blur | pixels | standard deviation 0 to s |
| noise | share of the range | standard deviation 0 to s |
| jpeg | 1 is the worst | quality 100 down to 100 - 99 s |

Not here: variations of what an image shows (vary.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import kornia.enhance
import kornia.filters
import kornia.geometry.transform
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deepssim.config.choices import Distortion
from deepssim.config.distortions import MOST_STRENGTH, DistortionConfig
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.seeds import torch_generator

_CONTROL = 3  # points of a bias field along each side
_BLOCK = 16  # side of the blocks that JPEG compresses
_SEEDS = 2**62


@dataclass(frozen=True)
class Misalignment:
    """What happens to each of N images; the defaults are nothing.

    Attributes:
        flip_rows: bool (N,), upside down.
        flip_columns: bool (N,), left to right.
        degrees: float32 (N,), anti-clockwise rotation, 0 for none.
        shift: float32 (N, 2), right and down, as a share of width and height.
        scale: float32 (N, 2), enlargement along the width and the height.
        gamma: float32 (N,), exponent of intensities of 0 to 1, 1 for none.
        bias: float32 (N, 3, 3), logarithm of a factor at control points, 0 for none.
        blur: float32 (N,), standard deviation in pixels, 0 for none.
        noise: float32 (N,), standard deviation, 0 for none.
        noise_seed: int64 (N,).
        quality: float32 (N,), of JPEG, 1 to 100; above 100 for none.
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
        """Leave `count` images as they are."""
        still = torch.zeros(count)
        return cls(
            flip_rows=still.bool(), flip_columns=still.bool(), degrees=still, shift=torch.zeros(count, 2),
            scale=torch.ones(count, 2), gamma=still + 1, bias=torch.zeros(count, _CONTROL, _CONTROL), blur=still,
            noise=still, noise_seed=still.long(), quality=still + 101,
        )  # fmt: skip

    def to(self, device: torch.device) -> "Misalignment":
        """Move to a device."""
        return Misalignment(**{item.name: getattr(self, item.name).to(device) for item in fields(self)})


def draw(count: int, distortions: Sequence[DistortionConfig], generator: torch.Generator | None = None) -> Misalignment:
    """Draw what happens to `count` images; without a generator, from torch's global one."""
    values = {item.name: getattr(Misalignment.none(count), item.name) for item in fields(Misalignment)}
    for entry in distortions:
        happens = torch.rand(2, count, generator=generator) < entry.probability
        even = 2 * torch.rand(count, 9, generator=generator) - 1  # -1 to 1
        for name, value, chosen in _drawn(entry, even, happens):
            # A second entry of the same kind replaces the first where both happen.
            values[name] = torch.where(chosen.view(-1, *[1] * (value.ndim - 1)), value, values[name])
    if any(entry.kind is Distortion.NOISE for entry in distortions):
        values["noise_seed"] = torch.randint(_SEEDS, (count,), generator=generator)
    return Misalignment(**values)


def _drawn(entry: DistortionConfig, even: Tensor, happens: Tensor) -> list[tuple[str, Tensor, Tensor]]:
    """Turn even numbers of -1 to 1, (N, 9), into parameters: name, values, and for which images they count."""
    strength, first = entry.strength, happens[0]
    one, positive = even[:, 0] * strength, (even[:, 0] + 1) / 2 * strength
    match entry.kind:
        case Distortion.FLIP:
            return [("flip_rows", happens[0], happens[0]), ("flip_columns", happens[1], happens[1])]
        case Distortion.ROTATION:
            return [("degrees", one, first)]
        case Distortion.TRANSLATION:
            return [("shift", even[:, :2] * strength, first)]
        case Distortion.SCALE:
            return [("scale", 1 + one[:, None].expand(-1, 2), first)]
        case Distortion.CROP:
            cut = (even[:, :2] + 1) / 2 * strength
            # The middle of what remains may lie anywhere that keeps it inside; enlarging moves it further.
            return [("scale", 1 / (1 - cut), first), ("shift", even[:, 2:4] * cut / 2 / (1 - cut), first)]
        case Distortion.GAMMA:
            return [("gamma", 1 + one, first)]
        case Distortion.BIAS_FIELD:
            return [("bias", torch.log1p(even * strength).view(-1, _CONTROL, _CONTROL), first)]
        case Distortion.BLUR:
            return [("blur", positive, first)]
        case Distortion.NOISE:
            return [("noise", positive, first)]
        case Distortion.JPEG:
            return [("quality", 100 - 99 * positive, first)]


def apply(images: Tensor, misalignment: Misalignment) -> Tensor:
    """Distort images: pose first, then intensity, then sharpness, as a scanner and a file would.

    Args:
        images: floating point, shape (N, 1, H, W), 0 to 1.
        misalignment: for N images, on the same device.

    Returns:
        float32, same shape, 0 to 1; what comes from outside of the image is black.
    """
    with torch.autocast(images.device.type, enabled=False):  # in half precision a rotation would miss by pixels
        return _apply(images.float(), misalignment)


def _apply(images: Tensor, change: Misalignment) -> Tensor:
    images = torch.where(change.flip_rows[:, None, None, None], images.flip(2), images)
    images = torch.where(change.flip_columns[:, None, None, None], images.flip(3), images)
    moved = (change.degrees != 0) | (change.shift != 0).any(1) | (change.scale != 1).any(1)
    images = change_some(
        moved, images, lambda part, rows: _move(part, change.degrees[rows], change.shift[rows], change.scale[rows])
    )
    images = kornia.enhance.adjust_gamma(images.clamp(0, 1), change.gamma)
    biased = change.bias.flatten(1).any(1)
    images = change_some(biased, images, lambda part, rows: part * _field(change.bias[rows], part))
    images = change_some(change.blur > 0, images, lambda part, rows: _blur(part, change.blur[rows]))
    images = change_some(
        change.noise > 0,
        images,
        lambda part, rows: part + _noise(part, change.noise[rows], change.noise_seed[rows]),
    ).clamp(0, 1)
    return change_some(change.quality <= 100, images, lambda part, rows: _compress(part, change.quality[rows]))


def change_some(chosen: Tensor, images: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Change some images only; one that nothing happens to stays the same to the last bit.

    Args:
        chosen: bool (N,).
        images: shape (N, ...).
        change: takes the chosen images and `chosen`, and returns them changed.
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

    Each image's change depends on `seed` and its key only.
    """
    copies = []
    for start in range(0, len(pack.keys), batch_size):
        rows = slice(start, start + batch_size)
        images = torch.from_numpy(ImagePack(pack.images[rows], pack.keys[rows]).unit())[:, None]
        changed = apply(images, _draw_each(pack.keys[rows], distortions, seed))[:, 0].numpy()
        copies.append(quantise(changed, pack.bit_depth))
    return ImagePack(np.concatenate(copies), pack.keys)


def _draw_each(keys: Sequence[str], distortions: Sequence[DistortionConfig], seed: int) -> Misalignment:
    single = [draw(1, distortions, torch_generator(seed, "misalign", key)) for key in keys]
    return Misalignment(**{f.name: torch.cat([getattr(one, f.name) for one in single]) for f in fields(Misalignment)})


def _move(images: Tensor, degrees: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Rotate, enlarge and shift in one step, so that pixels are interpolated once."""
    height, width = images.shape[2:]
    size = torch.tensor([width, height], dtype=torch.float32, device=images.device)
    matrix = kornia.geometry.transform.get_affine_matrix2d(
        shift * (size - 1), ((size - 1) / 2).expand(len(images), 2), scale, -degrees
    )
    return kornia.geometry.transform.warp_affine(
        images, matrix[:, :2].to(images.dtype), (height, width), align_corners=True
    )


def _field(control: Tensor, images: Tensor) -> Tensor:
    """Return a smooth factor for every pixel, (N, 1, H, W)."""
    return F.interpolate(control[:, None].exp(), size=images.shape[2:], mode="bicubic", align_corners=True).to(images)


def _blur(images: Tensor, deviation: Tensor) -> Tensor:
    # The window has one size for all, so that an image's sharpness does not depend on its neighbours'.
    sigma = deviation[:, None].expand(-1, 2).to(images.dtype)
    window = 2 * round(3 * MOST_STRENGTH[Distortion.BLUR]) + 1
    return kornia.filters.gaussian_blur2d(images, window, sigma, border_type="replicate")


def _noise(images: Tensor, deviation: Tensor, seeds: Tensor) -> Tensor:
    """Return normal noise that depends on each image's seed only, and not on the device."""
    drawn = [torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(drawn).to(images) * deviation[:, None, None, None]


def _compress(images: Tensor, quality: Tensor) -> Tensor:
    height, width = images.shape[2:]
    padded = F.pad(images, (0, -width % _BLOCK, 0, -height % _BLOCK), mode="replicate").expand(-1, 3, -1, -1)
    return kornia.enhance.jpeg_codec_differentiable(padded.float(), quality)[:, :1, :height, :width].clamp(0, 1)
