"""Affine registration of volumes: rigid, then affine, coarse to fine (SimpleITK).

What is compared is the normalized correlation of locally normalised intensities within the foreground.

Not here: where it starts, and the smooth displacement that follows (volume_proof.py, volume_flow.py).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from deepssim.images.resample_volumes import pulled, resized, smoothed
from deepssim.registration.volume_images import correlation, foreground, locally_normalised
from deepssim.registration.volume_pattern import square, volume_pattern

SIDE = 64  # voxels of the cube that holds the foreground
_COARSE, _FINE = 32, 48  # voxels along each side at which registration is coarse, and fine
_COARSEST = 16  # for the first rigid step, which finds what a cut-off part has shifted
_SIDES = (_COARSEST, _COARSE, _FINE)
_POINTS = 2000  # at which registration compares volumes
_LEAST_POINTS = 200  # of the foreground, so that thin structures have some
_STEPS, _FINE_STEPS = 100, 60
_LARGEST, _LARGEST_AFFINE = 1.0, 0.25  # steps in voxels; of an affine map, the parts of a longer one add up to too much
_SMALLEST, _RELAXATION = 0.004, 0.7  # step in voxels, and by how much steps shrink after a turn
_BORDER = 0.375  # of the side, empty space around a volume
_LOCAL = 4.0  # voxels of 64, in which contrast is normalised for registration
_LEAST_LOCAL = 2.0  # voxels of any resolution
_LEAST_COMMON = 0.5  # of the foreground, where starts of a registration are compared
_STRETCH = 2.0  # by which an affine map may enlarge or shrink any direction; more is not plausible
_RADII = 1.75  # of gyration, half the side of the cube around the foreground; an ellipsoid of 3:2:2 has 1.8
_MARGIN = 1.06  # of the foreground's extent
_LEAST_RADIUS = 0.15  # of the half side of the given volume; less foreground is a speck


@dataclass(frozen=True)
class PreparedVolume:
    """What is computed once per volume.

    Attributes:
        volume: uint8 (64, 64, 64), the cube that holds the foreground.
        placement: float64 (3, 4), maps voxels of it to voxels of the given volume.
        pattern: float32 (511,), see `volume_pattern`.
    """

    volume: np.ndarray
    placement: np.ndarray
    pattern: np.ndarray


class Levels:
    """A prepared volume at the resolutions of registration, made when they are first needed.

    Args:
        prepared: the volume.
    """

    def __init__(self, prepared: PreparedVolume) -> None:
        self.prepared = prepared
        self.values = prepared.volume.astype(np.float32) / 255

    @cached_property
    def mask(self) -> np.ndarray:
        """Foreground, bool (64, 64, 64)."""
        return foreground(self.values)

    @cached_property
    def normalised(self) -> dict[int, np.ndarray]:
        """Locally normalised volumes by number of voxels along each side, float32."""
        return {
            side: locally_normalised(resized(self.values, side), max(_LOCAL * side / SIDE, _LEAST_LOCAL))
            for side in _SIDES
        }

    @cached_property
    def near(self) -> dict[int, np.ndarray]:
        """Foreground and the voxels next to it, bool (S, S, S), by S, voxels along each side; never empty, as it fades where thin."""
        mask = self.mask.astype(np.float32)
        reduced = {side: resized(mask, side) for side in _SIDES}
        return {side: binary_dilation(values > 0.5 * values.max()) for side, values in reduced.items()}

    @cached_property
    def itk(self) -> dict[int, tuple[Any, Any]]:
        """The same as images of SimpleITK, with empty space around the volume: what is moved out of it is background."""
        import SimpleITK as sitk

        found = {}
        for side in _SIDES:
            border = [int(_BORDER * side)] * 3
            image = sitk.ConstantPad(sitk.GetImageFromArray(self.normalised[side]), border, border, 0.0)
            found[side] = image, sitk.GetImageFromArray(self.near[side].astype(np.uint8))
        return found


def prepare_volume(volume: np.ndarray) -> PreparedVolume:
    """Prepare a volume for comparisons: cut out the cube around its foreground.

    Args:
        volume: uint8 (D, H, W) of cubic voxels, dark background.

    Raises:
        ValueError: if the volume is of another type or number of axes, so that its intensities are not what they seem.
    """
    if volume.dtype != np.uint8 or volume.ndim != 3:
        raise ValueError(f"expected uint8 (D, H, W), got {volume.dtype} of shape {volume.shape}")
    values = volume.astype(np.float32) / 255
    placement = _cube(foreground(values))
    spacing = float(np.abs(placement[0, 0]))
    cut, covered = pulled(smoothed(values, 0.4 * spacing if spacing > 1.2 else 0.0), placement, (SIDE,) * 3)
    small = np.rint(255 * np.where(covered, cut, 0)).astype(np.uint8)
    return PreparedVolume(small, placement, volume_pattern(small.astype(np.float32) / 255))


def _cube(mask: np.ndarray) -> np.ndarray:
    """Return the map of voxels of a cube around a foreground to voxels of the volume.

    Its size follows from the radius of gyration, which does not depend on the pose.
    """
    places = np.argwhere(mask).astype(np.float64)
    centre = places.mean(axis=0)
    away = places - centre
    reach = _MARGIN * float(np.abs(away).max()) + 1
    half = max(
        min(_RADII * float(np.sqrt(np.square(away).sum(axis=1).mean())), reach), _LEAST_RADIUS * max(mask.shape) / 2
    )
    scale = 2 * half / SIDE
    return np.column_stack([scale * np.eye(3), centre - scale * (SIDE - 1) / 2])


def register(fixed: Levels, moving: Levels, start: np.ndarray, *, rigid_first: bool, fine: bool = True) -> np.ndarray:
    """Register two volumes by an affine map.

    Args:
        fixed, moving: volumes.
        start: float64 (3, 4), maps voxels of the fixed volume to those of the moving one, at 64 voxels.
        rigid_first: whether only rotation and translation are sought before all of an affine map, both at 32 voxels; if not,
            the start is already close.
        fine: whether it is refined at 48 voxels.

    Returns:
        float64 (3, 4), like `start`: after the last step that led to a plausible map with no less agreement.
    """
    plan = [(_COARSEST, False, _STEPS), (_COARSE, False, _STEPS), (_COARSE, True, _STEPS)] if rigid_first else []
    if fine or not rigid_first:
        plan.append((_FINE, True, _FINE_STEPS))
    found, reached = start, agreement(fixed, moving, start)
    for side, affine, steps in plan:
        trial = _step(fixed.itk[side], moving.itk[side][0], found, affine=affine, steps=steps)
        agreed = agreement(fixed, moving, trial) if _plausible(trial) else -np.inf
        if agreed >= reached:  # an optimiser that lost its way must not take what the steps before it have found
            found, reached = trial, agreed
    return found


def _plausible(matrix: np.ndarray) -> bool:
    stretch = np.linalg.svd(matrix[:, :3], compute_uv=False)
    return bool(stretch.max() < _STRETCH and stretch.min() > 1 / _STRETCH)


def agreement(fixed: Levels, moving: Levels, matrix: np.ndarray) -> float:
    """Return the correlation of locally normalised intensities where both foregrounds are, -1 to 1; 0 if they hardly overlap.

    Args:
        fixed, moving: volumes.
        matrix: float64 (3, 4), maps voxels of the fixed volume to those of the moving one, at 64 voxels.
    """
    coarse = _rescaled(matrix, _COARSE / SIDE)
    moved, covered = pulled(moving.normalised[_COARSE], coarse, (_COARSE,) * 3)
    near, _ = pulled(moving.near[_COARSE].astype(np.float32), coarse, (_COARSE,) * 3)
    both = fixed.near[_COARSE] & covered & (near > 0.5)
    if both.sum() < _LEAST_COMMON * fixed.near[_COARSE].sum():
        return 0.0
    return correlation(fixed.normalised[_COARSE], moved, both)


def _step(fixed: tuple[Any, Any], moving: Any, start: np.ndarray, *, affine: bool, steps: int) -> np.ndarray:
    """Register at one resolution by an affine map, or a rotation and translation, that is applied before the start."""
    import SimpleITK as sitk

    image, mask = fixed
    side = mask.GetSize()[0]
    inside = sitk.GetArrayViewFromImage(mask)
    change = sitk.AffineTransform(3) if affine else sitk.Euler3DTransform()
    change.SetCenter([(side - 1) / 2] * 3)
    method = sitk.ImageRegistrationMethod()
    method.SetGlobalWarningDisplay(False)  # a trial step of the optimiser may lead out of the volume
    method.SetNumberOfThreads(1)  # the order of sums, and so their last digits, would depend on it
    method.SetMetricAsCorrelation()
    method.SetMetricFixedMask(mask)
    fraction = max(_POINTS / side**3, _LEAST_POINTS / int(inside.sum()))
    if fraction < 1:  # else at all points
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(fraction, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricUseMovingImageGradientFilter(False)  # gradients at the points only take a third of the time
    method.SetMetricUseFixedImageGradientFilter(False)
    largest = _LARGEST_AFFINE if affine else _LARGEST
    method.SetOptimizerAsRegularStepGradientDescent(largest, _SMALLEST, steps, _RELAXATION)
    method.SetOptimizerScalesFromJacobian()
    method.SetMovingInitialTransform(_to_itk(start, side))
    method.SetInitialTransform(change, True)
    method.Execute(image, moving)  # which leaves the start as it is if nothing overlaps
    return (square(start) @ square(_from_itk(change, side)))[:3]


def _to_itk(matrix: np.ndarray, side: int) -> Any:
    """Return a map between volumes of 64 voxels as one between volumes of `side` voxels, for SimpleITK's order of axes."""
    import SimpleITK as sitk

    scaled = _rescaled(matrix, side / SIDE)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(scaled[::-1, 2::-1].ravel())
    transform.SetTranslation(scaled[::-1, 3])
    return transform


def _from_itk(transform: Any, side: int) -> np.ndarray:
    """Return what a transform of SimpleITK maps voxels to, as a map between volumes of 64 voxels, float64 (3, 4)."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [np.array(transform.TransformPoint(tuple(unit))) - origin for unit in np.eye(3)]
    matrix = np.column_stack([*ends[::-1], origin])[::-1]
    return _rescaled(matrix, SIDE / side)


def _rescaled(matrix: np.ndarray, factor: float) -> np.ndarray:
    """Return a map between volumes whose sides have `factor` as many voxels."""
    resize = np.diag([factor, factor, factor, 1.0])
    resize[:3, 3] = (factor - 1) / 2
    return (resize @ square(matrix) @ np.linalg.inv(resize))[:3]
