"""Bring images to a common pose and contrast before they are embedded.

SSIM compares aligned images, so an encoder of misaligned images has to undo flips, rotations and contrast changes. A small
network does so explicitly. It is trained on random misalignments of known parameters, and the encoder behind it only sees
nearly aligned images. Its choice among the four flips of an image is equivariant: an image and its mirror image are brought
to the same pose, even by an untrained network.

Any common pose will do, as long as similar images agree on it. Many images are nearly symmetric, so a network that has to
recover the original orientation guesses, and guesses differently for a copy. The loss therefore rewards agreement within a
family (families.py) and gives little weight to the true pose.

Not here: the encoder (deepssim.py), the random misalignments (images/augment.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.config.choices import Distortion
from deepssim.config.distortions import DistortionConfig
from deepssim.encoders.corners import fill_corners
from deepssim.images.misalignment import Misalignment
from deepssim.images.standardize import zscore_batch

_FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))  # axes reversed by each of the four flips
# Values estimated for each flip: rotation, logarithm of the intensity exponent, shift right and down, logarithms of the
# magnification along width and height; and their signs under the four flips.
_SIGNS = ((1, 1, 1, 1, 1, 1), (-1, 1, 1, -1, 1, 1), (-1, 1, -1, 1, 1, 1), (1, 1, -1, -1, 1, 1))
_LIMITS = (45.0, 0.7, 0.3, 0.3, 0.4, 0.4)  # degrees, natural logarithms and fractions of the sides
_BASE_VALUES = 2  # rotation and exponent; the others are estimated only if training shifts or rescales images
_SHIFT_OR_SCALE = {Distortion.TRANSLATION, Distortion.SCALE, Distortion.CROP}
_CORNER_MARGIN = 1.2  # black corners are searched a little beyond the largest rotation of training
_DEGREES_PER_UNIT = 10.0  # of the network's output
# Degrees of tilt at which each pass views the images; symmetric about 0, so that a mirror image gives the same result.
_PASSES = ((0.0,), (0.0,), (0.0,), (-4.0, 4.0))
_TRAINING_PASSES = 2  # more would make training half as long again
_MIN_PROBABILITY = 0.05  # of a flip that contributes to the embedding
_SIDE = 32  # pixels of the network's input, enough to estimate a pose
_WIDTH = 16  # channels of the first layer
_HIDDEN = 128
_TRUTH_WEIGHT = 0.05  # of the error against the true pose, relative to disagreement within a family
_ANGLE_WEIGHT = 0.02  # of an error of one degree, relative to one nat of the cross-entropy of flips
_VALUE_WEIGHTS = (0.9, 20.0, 20.0, 4.0, 4.0)  # of the squared errors of the other values


@dataclass(frozen=True)
class PoseEstimate:
    """Estimated pose and contrast of N images, for each of their four flips.

    Attributes:
        scores: float32 (N, 4), logits, highest for the flip that brings the image to the common pose.
        values: float32 (N, 4, P), deviation of each flip from the common pose: anti-clockwise rotation in degrees, natural
            logarithm of the intensity exponent and, if P is 6, shift right and down as fractions of the sides and natural
            logarithms of the magnification along width and height.
        undone: transform that had been undone before this estimate.
    """

    scores: Tensor
    values: Tensor
    undone: "AffinePose"

    def unflipped(self) -> Tensor:
        """Return the values of the unflipped image, averaged over the estimates for its flips, float32 (N, P)."""
        return (self.values * self._signs()).mean(dim=1)

    def loss(self, truth: Misalignment, members: int = 1) -> Tensor:
        """Compare with the misalignment that was applied, and the members of each family with each other.

        Args:
            truth: misalignment of the N images.
            members: consecutive images per family; with 1, the loss is the error against the truth alone.

        Returns:
            float32 scalar, 0 at best.
        """
        flip = truth.flip_rows.long() + 2 * truth.flip_columns.long()
        # With these numbers two flips compose by exclusive or: reordered, a column is the same pose for a whole family.
        order = torch.arange(len(_FLIPS), device=flip.device) ^ flip[:, None]
        true = self.undone.residual(truth)
        errors = self.values - true[:, None, : self.values.shape[2]] * self._signs()
        errors = errors.gather(1, order[:, :, None].expand_as(errors))
        truth_loss = F.cross_entropy(self.scores, flip) + _weighted(errors)
        if members == 1:
            return truth_loss
        probabilities = self.scores.softmax(1).gather(1, order).view(-1, members, len(_FLIPS)).mean(dim=1)
        flip_disagreement = -probabilities.square().sum(dim=1).log().mean()
        of_family = errors.view(-1, members, *errors.shape[1:])
        deviations = (of_family - of_family.mean(dim=1, keepdim=True)).flatten(0, 1)
        return flip_disagreement + _weighted(deviations) + _TRUTH_WEIGHT * truth_loss

    def _signs(self) -> Tensor:
        return self.values.new_tensor(_SIGNS)[:, : self.values.shape[2]]


def _weighted(errors: Tensor) -> Tensor:
    angle = F.smooth_l1_loss(errors[..., 0], torch.zeros_like(errors[..., 0]))
    others = errors[..., 1:].square().mean(dim=(0, 1))
    return _ANGLE_WEIGHT * angle + (others * others.new_tensor(_VALUE_WEIGHTS)[: len(others)]).sum()


class CanonicalImages(NamedTuple):
    """Images in the common pose, once per probable flip; in training, only in the most probable one.

    Attributes:
        images: float32 (M, 1, H, W), 0 to 1, with M at least the number N of input images.
        sources: int64 (M,), index of the input image, 0 to N - 1.
        probabilities: float32 (M,), of each flip; they sum to 1 for each input image.
        estimates: pose estimates of the N images, in the order of the passes.
    """

    images: Tensor
    sources: Tensor
    probabilities: Tensor
    estimates: list[PoseEstimate]


class Canonicalizer(nn.Module):
    """Network that brings images to a common pose and contrast.

    Args:
        misalignment: distortions drawn in training; shifts and changes of scale are undone only if it includes some.
    """

    def __init__(self, misalignment: Sequence[DistortionConfig] = ()) -> None:
        super().__init__()
        rotations = [entry.strength for entry in misalignment if entry.kind is Distortion.ROTATION]
        self.max_degrees = max(rotations, default=0.0) * _CORNER_MARGIN
        self.values = len(_LIMITS) if any(entry.kind in _SHIFT_OR_SCALE for entry in misalignment) else _BASE_VALUES
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

    def estimate(self, images: Tensor, undone: "AffinePose | None" = None) -> PoseEstimate:
        """Estimate the pose of every image from all four of its flips.

        Args:
            images: floating point (N, 1, H, W), 0 to 1.
            undone: transform that has been undone in these images; none unless given.

        Returns:
            The estimate, in float32.
        """
        small = F.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
        flips = torch.cat([small.flip(axes) if axes else small for axes in _FLIPS])
        # In half precision the choice of a flip would depend on rounding, which differs between batches.
        with torch.autocast(images.device.type, enabled=False):
            outputs = self.network(zscore_batch(flips.float())).view(len(_FLIPS), -1, 1 + self.values).transpose(0, 1)
        limits = outputs.new_tensor(_LIMITS)[1 : self.values]
        values = torch.cat([_DEGREES_PER_UNIT * outputs[..., 1:2], limits * outputs[..., 2:].tanh()], dim=2)
        return PoseEstimate(outputs[..., 0], values, undone or AffinePose.identity(images))

    def forward(self, images: Tensor) -> CanonicalImages:
        """Bring images to the common pose; gradients reach the estimates, but not the images.

        Each pass views the images as corrected by the passes before, so that two copies end up nearly identical and get the
        same estimate. Only then are the flips chosen.

        Args:
            images: floating point (N, 1, H, W), 0 to 1.

        Returns:
            The images, shifted, rotated, rescaled, flipped and raised to a power.
        """
        with torch.autocast(images.device.type, enabled=False):
            images, degrees = fill_corners(images.detach().float(), self.max_degrees)
            pose = AffinePose.identity(images).compose(degrees[:, None])
            estimates = []
            for tilts in _PASSES[:_TRAINING_PASSES] if self.training else _PASSES:
                corrected = pose.undo(images, "bilinear")
                views = [self.estimate(_rotate(corrected, tilt), pose) for tilt in tilts]
                scores = torch.stack([view.scores for view in views]).mean(dim=0).detach()
                pose = pose.compose(torch.stack([view.unflipped() for view in views]).mean(dim=0).detach())
                estimates += views
            chosen = F.one_hot(scores.argmax(dim=1), len(_FLIPS)).float() if self.training else scores.softmax(dim=1)
            chosen = chosen * (chosen >= _MIN_PROBABILITY)
            source, flip = chosen.nonzero(as_tuple=True)
            corrected = pose.undo(images, "bicubic")[source]
            for number, axes in enumerate(_FLIPS):
                corrected = torch.where((flip == number)[:, None, None, None], corrected.flip(axes), corrected)
            probabilities = (chosen / chosen.sum(dim=1, keepdim=True))[source, flip]
            return CanonicalImages(corrected, source, probabilities, estimates)


@dataclass(frozen=True)
class AffinePose:
    """Transform that takes N images out of the common pose, flips excluded.

    Attributes:
        matrix: float32 (N, 2, 2), linear map of pixel positions about the image centre, right and down.
        shift: float32 (N, 2), pixels right and down.
        exponents: float32 (N,), natural logarithms of the intensity exponents.
        size: float32 (2,), width and height less one, in pixels.
    """

    matrix: Tensor
    shift: Tensor
    exponents: Tensor
    size: Tensor

    @classmethod
    def identity(cls, images: Tensor) -> "AffinePose":
        """Return the transform that leaves images of shape (N, 1, H, W) unchanged."""
        count, _, height, width = images.shape
        zeros = images.new_zeros(count, 2)
        return cls(
            torch.eye(2).to(images).expand(count, 2, 2), zeros, zeros[:, 0], images.new_tensor([width - 1, height - 1])
        )

    def compose(self, values: Tensor) -> "AffinePose":
        """Return the transform of images that still have some deviation once this transform is undone.

        Args:
            values: float32 (N, 1 to 6), remaining deviation as in `PoseEstimate`; absent columns are zero.

        Returns:
            The composition; the rotation of `values`, the total shift and the total exponent are limited.
        """
        limits = values.new_tensor(_LIMITS)
        values = F.pad(values, (0, len(_LIMITS) - values.shape[1]))
        angle = values[:, 0].clamp(-limits[0], limits[0]).deg2rad()
        rotation = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
        matrix = self.matrix @ (rotation * values[:, None, 4:].exp())
        shift = self.shift + (self.matrix @ (values[:, 2:4] * self.size)[:, :, None])[:, :, 0]
        # Without limits, errors of several passes could add up beyond what any image needs.
        shift = torch.clamp(shift, -limits[2:4] * self.size, limits[2:4] * self.size)
        return AffinePose(matrix, shift, (self.exponents + values[:, 1]).clamp(-limits[1], limits[1]), self.size)

    def residual(self, truth: Misalignment) -> Tensor:
        """Return what remains of a misalignment of N images once this transform is undone, flips excluded.

        Args:
            truth: misalignment that was applied.

        Returns:
            float32 (N, 6), as the values of `PoseEstimate`.
        """
        values = torch.cat([truth.degrees[:, None], truth.gamma.log()[:, None], truth.shift, truth.scale.log()], dim=1)
        whole = replace(self, matrix=torch.eye(2).to(values).expand_as(self.matrix), shift=0 * self.shift,
                        exponents=0 * self.exponents).compose(values)  # fmt: skip
        inverse = torch.linalg.inv(self.matrix)
        matrix = inverse @ whole.matrix
        shift = (inverse @ (whole.shift - self.shift)[:, :, None])[:, :, 0] / self.size
        angle = torch.atan2(-matrix[:, 1, 0], matrix[:, 0, 0]).rad2deg()
        exponents = whole.exponents - self.exponents
        return torch.cat([angle[:, None], exponents[:, None], shift, matrix.norm(dim=1).log()], dim=1)

    def undo(self, images: Tensor, mode: str) -> Tensor:
        """Bring images to the common pose: geometry first, then intensities.

        Args:
            images: float32 (N, 1, H, W), 0 to 1.
            mode: interpolation of `torch.nn.functional.grid_sample`.

        Returns:
            float32, same shape, 0 to 1.
        """
        # Sampling grids are in units of half the sides.
        matrix = self.matrix * self.size / self.size[:, None]
        theta = torch.cat([matrix, (2 * self.shift / self.size)[:, :, None]], dim=2)
        grid = affine_grid(theta, images)
        moved = F.grid_sample(images, grid, mode=mode, padding_mode="reflection", align_corners=True).clamp(0, 1)
        return moved ** (-self.exponents).exp()[:, None, None, None]


def affine_grid(theta: Tensor, images: Tensor) -> Tensor:
    """Return the sampling grid of affine maps, as `torch.nn.functional.affine_grid` with aligned corners.

    A sum of rows and columns takes a thirtieth of the time of the product of matrices there.

    Args:
        theta: float32 (N, 2, 3).
        images: (N, 1, H, W), for the size of the grid.

    Returns:
        float32 (N, H, W, 2).
    """
    right, down = (torch.linspace(-1, 1, side, device=theta.device) for side in (images.shape[3], images.shape[2]))
    rows, columns = theta[:, :, :1] * right, theta[:, :, 1:2] * down + theta[:, :, 2:]
    return (columns[:, :, :, None] + rows[:, :, None]).permute(0, 2, 3, 1)


def _rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate images anti-clockwise."""
    if not degrees:
        return images
    from kornia.geometry.transform import rotate  # not needed to import the encoder

    angles = images.new_full((images.shape[0],), degrees)  # `len` would fix the batch size in a traced network
    return rotate(images, angles, padding_mode="reflection").clamp(0, 1)
