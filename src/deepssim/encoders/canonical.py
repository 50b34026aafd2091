"""Bring images to a common pose and contrast before they are embedded.

SSIM compares aligned images, so an encoder that sees misaligned ones has to undo flips, rotations and changes of contrast
somewhere. A small network does it here on its own: it learns from the misalignment that training draws, whose parameters
are known, and the encoder behind it sees nearly aligned images only. Its choice among the four flips of an image cannot
depend on which of them was given, so an image and its mirror image come to the same pose, whatever the network has learned.

Which pose is common hardly matters, as long as images that resemble each other agree. Many are nearly symmetric, so a
network that has to say how each one lay in its data set guesses, and guesses differently for a copy. The loss therefore
asks for agreement within a family (see families.py) and only a little for the truth.

Not here: the encoder (deepssim.py), the misalignment of training (images/augment.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import kornia.geometry.transform
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.choices import Distortion
from deepssim.config import DistortionConfig
from deepssim.encoders.corners import fill_corners
from deepssim.images.augment import Misalignment
from deepssim.images.standardize import zscore_batch

_FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))  # axes that each of the four flips turns around
# What is said of each flip of an image: rotation, logarithm of the exponent, shift right and down, logarithm of the
# enlargement along the width and the height. The signs are how the four flips turn them around.
_SIGNS = ((1, 1, 1, 1, 1, 1), (-1, 1, 1, -1, 1, 1), (-1, 1, -1, 1, 1, 1), (1, 1, -1, -1, 1, 1))
_MOST = (45.0, 0.7, 0.3, 0.3, 0.4, 0.4)  # degrees, natural logarithms, and shares of the sides
_ALWAYS = 2  # rotation and exponent; the others only where training moves images
_MOVES = {Distortion.TRANSLATION, Distortion.SCALE, Distortion.CROP}
_MORE_DEGREES = 1.2  # black corners are looked for a little beyond what training draws
_DEGREES = 10.0  # one unit of the network's output
# Tilts at which an image is looked at, look by look. They are even, so that a mirror image gives the same.
_LOOKS = ((0.0,), (0.0,), (0.0,), (-4.0, 4.0))
_LOOKS_IN_TRAINING = 2  # which saves a third of the time
_LEAST_SHARE = 0.05  # of the flips that are likely
_SIDE = 32  # pixels that the network sees; poses need no more
_WIDTH = 16  # channels of its first layer
_HIDDEN = 128
_TRUTH_WEIGHT = 0.05  # of how an image really lay, beside one of agreement with its family
_ANGLE_WEIGHT = 0.02  # of an error of one degree, beside one nat of the choice of a flip
_OTHER_WEIGHTS = (0.9, 20.0, 20.0, 4.0, 4.0)  # of squared errors of the others


@dataclass(frozen=True)
class Pose:
    """How images lie and how contrasted they are, as the network sees it.

    Attributes:
        scores: float32 (N, 4), higher for the flip that brings the image to the common pose.
        values: float32 (N, 4, P), of each flip against the common pose: degrees of anti-clockwise rotation, natural
            logarithm of the exponent of intensities and, if P is 6, shift right and down as a share of the sides,
            natural logarithms of the enlargement along the width and the height.
        undone: what had been done to the images before this look.
    """

    scores: Tensor
    values: Tensor
    undone: "_Way"

    def of_image(self) -> Tensor:
        """Return the values of the image itself, float32 (N, P): what all flips say on average."""
        return (self.values * self._signs()).mean(dim=1)

    def loss(self, truth: Misalignment, members: int = 1) -> Tensor:
        """Compare with the misalignment that was applied, and members of a family with each other.

        Args:
            truth: for N images.
            members: images of each family, which follow each other; with one, only the truth counts.
        """
        flip = truth.flip_rows.long() + 2 * truth.flip_columns.long()
        # Flips are numbered so that undoing one is exclusive or: in this order a flip means the same for a whole family.
        order = torch.arange(len(_FLIPS), device=flip.device) ^ flip[:, None]
        true = self.undone.left_of(truth)
        errors = self.values - true[:, None, : self.values.shape[2]] * self._signs()
        errors = errors.gather(1, order[:, :, None].expand_as(errors))
        told = F.cross_entropy(self.scores, flip) + _of_errors(errors)
        if members == 1:
            return told
        shares = self.scores.softmax(1).gather(1, order).view(-1, members, len(_FLIPS)).mean(dim=1)
        disagreed = -shares.square().sum(dim=1).log().mean()
        of_family = errors.view(-1, members, *errors.shape[1:])
        apart = (of_family - of_family.mean(dim=1, keepdim=True)).flatten(0, 1)
        return disagreed + _of_errors(apart) + _TRUTH_WEIGHT * told

    def _signs(self) -> Tensor:
        return self.values.new_tensor(_SIGNS)[:, : self.values.shape[2]]


def _of_errors(errors: Tensor) -> Tensor:
    angle = F.smooth_l1_loss(errors[..., 0], torch.zeros_like(errors[..., 0]))
    others = errors[..., 1:].square().mean(dim=(0, 1))
    return _ANGLE_WEIGHT * angle + (others * others.new_tensor(_OTHER_WEIGHTS)[: len(others)]).sum()


class Posed(NamedTuple):
    """Images in the common pose, in every flip that is likely; in training, only in the likeliest.

    Attributes:
        images: float32 (M, 1, H, W), 0 to 1, at least one of every image that was given.
        image: int64 (M,), which image that was.
        shares: float32 (M,), how likely each flip is; they sum to 1 for each image.
        poses: how the images were seen to lie, look by look.
    """

    images: Tensor
    image: Tensor
    shares: Tensor
    poses: list[Pose]


class Canonicalizer(nn.Module):
    """Turn images back to a common pose and contrast.

    Input: float32 (N, 1, H, W), 0 to 1. Output: the same images, moved, flipped and to a power.

    Args:
        misalignment: that training draws: shifts and changes of size are undone only if they are in it.
    """

    def __init__(self, misalignment: Sequence[DistortionConfig] = ()) -> None:
        super().__init__()
        turned = [entry.strength for entry in misalignment if entry.kind is Distortion.ROTATION]
        self.most_degrees = max(turned, default=0.0) * _MORE_DEGREES
        self.values = len(_MOST) if any(entry.kind in _MOVES for entry in misalignment) else _ALWAYS
        layers: list[nn.Module] = []
        channels = 1
        for width in (_WIDTH, 2 * _WIDTH, 4 * _WIDTH):
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(4, width), nn.GELU()]
            channels = width
        self.network = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(channels * (_SIDE // 8) ** 2, _HIDDEN),
            nn.GELU(),
            nn.Linear(_HIDDEN, 1 + self.values),
        )

    def pose(self, images: Tensor, undone: "_Way | None" = None) -> Pose:
        """Look at all four flips of every image, after undoing something."""
        small = F.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
        flips = torch.cat([small.flip(axes) if axes else small for axes in _FLIPS])
        # A choice must not depend on rounding: in half precision it would differ between batches.
        with torch.autocast(images.device.type, enabled=False):
            seen = self.network(zscore_batch(flips.float())).view(len(_FLIPS), -1, 1 + self.values).transpose(0, 1)
        most = seen.new_tensor(_MOST)[1 : self.values]
        values = torch.cat([_DEGREES * seen[..., 1:2], most * seen[..., 2:].tanh()], dim=2)
        return Pose(seen[..., 0], values, undone or _Way.none(images))

    def forward(self, images: Tensor) -> Posed:
        """Bring images to the common pose; no gradient passes through the images, but through the poses.

        Every look after the first sees the images as the ones before would turn them, so that at the end two copies look
        nearly the same and are told to lie in the same way. Only then flips are chosen.
        """
        with torch.autocast(images.device.type, enabled=False):
            images, degrees = fill_corners(images.detach().float(), self.most_degrees)
            way = _Way.none(images).then(degrees[:, None])
            seen = []
            for tilts in _LOOKS[:_LOOKS_IN_TRAINING] if self.training else _LOOKS:
                turned = way.back(images, "bilinear")
                poses = [self.pose(_rotate(turned, tilt), way) for tilt in tilts]
                scores = torch.stack([pose.scores for pose in poses]).mean(dim=0).detach()
                way = way.then(torch.stack([pose.of_image() for pose in poses]).mean(dim=0).detach())
                seen += poses
            shares = F.one_hot(scores.argmax(dim=1), len(_FLIPS)).float() if self.training else scores.softmax(dim=1)
            shares = shares * (shares >= _LEAST_SHARE)
            image, flip = shares.nonzero(as_tuple=True)
            turned = way.back(images, "bicubic")[image]
            for number, axes in enumerate(_FLIPS):
                turned = torch.where((flip == number)[:, None, None, None], turned.flip(axes), turned)
            return Posed(turned, image, (shares / shares.sum(dim=1, keepdim=True))[image, flip], seen)


@dataclass(frozen=True)
class _Way:
    """How N images came from the common pose, but for flips.

    Attributes:
        matrix: float32 (N, 2, 2), where a pixel goes, from the middle of the image, right and down.
        shift: float32 (N, 2), pixels right and down.
        exponents: float32 (N,), natural logarithms.
        size: float32 (2,), width and height less one.
    """

    matrix: Tensor
    shift: Tensor
    exponents: Tensor
    size: Tensor

    @classmethod
    def none(cls, images: Tensor) -> "_Way":
        count, _, height, width = images.shape
        still = images.new_zeros(count, 2)
        return cls(
            torch.eye(2).to(images).expand(count, 2, 2), still, still[:, 0], images.new_tensor([width - 1, height - 1])
        )

    def then(self, values: Tensor) -> "_Way":
        """Return the way of images that, after undoing this one, still have these values (see `Pose`)."""
        most = values.new_tensor(_MOST)
        values = F.pad(values, (0, len(_MOST) - values.shape[1]))
        angle = values[:, 0].clamp(-most[0], most[0]).deg2rad()
        rotation = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
        matrix = self.matrix @ (rotation * values[:, None, 4:].exp())
        shift = self.shift + (self.matrix @ (values[:, 2:4] * self.size)[:, :, None])[:, :, 0]
        # Several looks must not add up to more than any image needs, whatever they see.
        shift = torch.clamp(shift, -most[2:4] * self.size, most[2:4] * self.size)
        return _Way(matrix, shift, (self.exponents + values[:, 1]).clamp(-most[1], most[1]), self.size)

    def left_of(self, truth: Misalignment) -> Tensor:
        """Return what is left of a misalignment after undoing this, float32 (N, 6), see `Pose`; flips are always left."""
        values = torch.cat([truth.degrees[:, None], truth.gamma.log()[:, None], truth.shift, truth.scale.log()], dim=1)
        whole = replace(self, matrix=torch.eye(2).to(values).expand_as(self.matrix), shift=0 * self.shift,
                        exponents=0 * self.exponents).then(values)  # fmt: skip
        inverse = torch.linalg.inv(self.matrix)
        matrix = inverse @ whole.matrix
        shift = (inverse @ (whole.shift - self.shift)[:, :, None])[:, :, 0] / self.size
        angle = torch.atan2(-matrix[:, 1, 0], matrix[:, 0, 0]).rad2deg()
        exponents = whole.exponents - self.exponents
        return torch.cat([angle[:, None], exponents[:, None], shift, matrix.norm(dim=1).log()], dim=1)

    def back(self, images: Tensor, mode: str) -> Tensor:
        """Bring images back to the common pose: where they lie, then their exponent."""
        # Grids are in halves of the sides.
        matrix = self.matrix * self.size / self.size[:, None]
        theta = torch.cat([matrix, (2 * self.shift / self.size)[:, :, None]], dim=2)
        grid = F.affine_grid(theta, list(images.shape), align_corners=True)
        moved = F.grid_sample(images, grid, mode=mode, padding_mode="reflection", align_corners=True).clamp(0, 1)
        return moved ** (-self.exponents).exp()[:, None, None, None]


def _rotate(images: Tensor, degrees: float) -> Tensor:
    if not degrees:
        return images
    angles = images.new_full((images.shape[0],), degrees)
    return kornia.geometry.transform.rotate(images, angles, padding_mode="reflection").clamp(0, 1)
