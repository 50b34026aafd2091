"""Changes of fixed strength that a copied volume may have gone through, for one volume each.

Every function takes a volume, float32 (D, H, W), 0 to 1, and the volume's own random generator, and returns a new volume of the same
shape that may exceed 0 to 1. Lengths are in mm of a volume whose longest side is 220 mm, about the field of view of a head scan.
Places between voxels are interpolated linearly, what moves in is black.

Not here: which changes and strengths the audit's controls have (volume_distort.py), changes of images (changes.py), of which
those of single intensities serve volumes, too.
"""

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial.transform import Rotation

from deepssim.images import changes
from deepssim.images.resample_volumes import pulled, smoothed

Volume = np.ndarray
Random = np.random.Generator

_FIELD_OF_VIEW = 220.0  # mm
_CONTROL_POINTS = 5  # of a warp, along each side
_SOFT_BLUR = 1.3  # mm; with this noise about what a latent diffusion model does to details
_SOFT_NOISE = 4 / 255  # four of 256 grey levels


def flip(volume: Volume, random: Random, *, axis: int) -> Volume:
    """Mirror a volume.

    Args:
        volume, random: see above.
        axis: 0 head to foot, 1 front to back, 2 left to right, in the orientation of the audit.
    """
    return np.flip(volume, axis)


def quarter_turn(volume: Volume, random: Random, *, axes: tuple[int, int]) -> Volume:
    """Rotate by 90 degrees; what no longer fits is cut off.

    Args:
        volume, random: see above.
        axes: of the plane of the rotation.
    """
    return _fitted(np.rot90(volume, axes=axes), volume.shape)


def reorder(volume: Volume, random: Random) -> Volume:
    """Store a volume with its axes in another order, each moved on by one; what no longer fits is cut off.

    Args:
        volume, random: see above.
    """
    return _fitted(volume.transpose(2, 0, 1), volume.shape)


def rotate(volume: Volume, random: Random, *, degrees: float) -> Volume:
    """Rotate about an oblique axis of random direction through the centre.

    Args:
        volume, random: see above.
        degrees: angle.
    """
    axis = random.standard_normal(3)
    turn = Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True)
    return _moved(volume, turn.as_matrix())


def stretch(volume: Volume, random: Random, *, strength: float) -> Volume:
    """Apply a random affine map: stretching and shearing along all axes.

    Args:
        volume, random: see above.
        strength: largest entry of the map's difference from the identity.
    """
    return _moved(volume, np.eye(3) + random.uniform(-strength, strength, (3, 3)))


def shift(volume: Volume, random: Random, *, mm: float) -> Volume:
    """Shift along each axis in a random direction.

    Args:
        volume, random: see above.
        mm: length along each axis.
    """
    return _moved(volume, np.eye(3), random.choice([-1.0, 1.0], 3) * _voxels(volume, mm))


def cut(volume: Volume, random: Random, *, fraction: float) -> Volume:
    """Make one face of the volume and what lies below it black, as with a smaller field of view.

    Args:
        volume, random: see above.
        fraction: of the extent of what is not black along a random axis, that is cut off at a random end.
    """
    axis, low = int(random.integers(3)), bool(random.integers(2))
    bright = np.flatnonzero(volume.max(axis=tuple(other for other in range(3) if other != axis)) > 0)
    if not len(bright):
        return volume
    count = round(fraction * (bright[-1] - bright[0] + 1))
    removed = slice(0, bright[0] + count) if low else slice(bright[-1] + 1 - count, None)
    result = volume.copy()
    result[(slice(None),) * axis + (removed,)] = 0
    return result


def blur(volume: Volume, random: Random, *, mm: float) -> Volume:
    """Blur with a Gaussian.

    Args:
        volume, random: see above.
        mm: standard deviation.
    """
    return smoothed(np.ascontiguousarray(volume), _voxels(volume, mm))


def thick_slices(volume: Volume, random: Random, *, mm: float) -> Volume:
    """Average slices along a random axis, as a scan of thick slices that is interpolated.

    Args:
        volume, random: see above.
        mm: thickness.
    """
    axis = int(random.integers(3))
    lines = np.moveaxis(volume, axis, 0)
    count = max(2, round(_voxels(volume, mm)))
    starts = np.arange(0, len(lines), count)
    means = np.add.reduceat(lines, starts, axis=0) / np.diff([*starts, len(lines)])[:, None, None]
    places = np.clip((np.arange(len(lines)) - (count - 1) / 2) / count, 0, len(means) - 1)
    below = places.astype(int)
    above = np.minimum(below + 1, len(means) - 1)
    weight = (places - below)[:, None, None]
    mixed = means[below] * (1 - weight) + means[above] * weight
    return np.ascontiguousarray(np.moveaxis(mixed, 0, axis), np.float32)


def bias_field(volume: Volume, random: Random, *, strength: float) -> Volume:
    """Multiply by a linear factor from 1 - strength in one corner to 1 + strength in the opposite one, in a random direction.

    Args:
        volume, random: see above.
        strength: largest relative change.
    """
    direction = random.standard_normal(3)
    axes = np.meshgrid(
        *(np.linspace(-1, 1, side, dtype=np.float32) for side in volume.shape), indexing="ij", sparse=True
    )
    field = sum(np.float32(part) * axis for part, axis in zip(direction, axes, strict=True))
    return volume * (1 + np.float32(strength / np.abs(direction).sum()) * field)


def soft(volume: Volume, random: Random) -> Volume:
    """Blur slightly and add slight noise, as a latent diffusion model does.

    Args:
        volume, random: see above.
    """
    return changes.noise(blur(volume, random, mm=_SOFT_BLUR), random, deviation=_SOFT_NOISE)


def warp(volume: Volume, random: Random, *, mm: float) -> Volume:
    """Move voxels by a smooth random field of zero mean.

    Args:
        volume, random: see above.
        mm: standard deviation of the displacement along each axis.
    """
    sides = volume.shape
    control = random.standard_normal((3, *(_CONTROL_POINTS,) * 3))
    factors = [side / _CONTROL_POINTS for side in sides]
    field = np.stack([zoom(part, factors, order=3, mode="nearest", grid_mode=True) for part in control])
    axes = (1, 2, 3)
    # A field of few control points is on average off zero and weaker between them, both differently for every volume.
    field -= field.mean(axis=axes, keepdims=True)
    field *= _voxels(volume, mm) / field.std(axis=axes, keepdims=True)
    return _moved(volume, np.eye(3), displacement=field.astype(np.float32))


def replace_octant(volume: Volume, random: Random, other: Volume) -> Volume:
    """Replace a random octant by the same one of another volume.

    Args:
        volume, random: see above.
        other: see `volume`; the same shape.
    """
    halves = tuple(
        slice(0, side // 2) if random.random() < 0.5 else slice(side // 2, None) for side in volume.shape
    )  # fmt: skip
    mixed = volume.copy()
    mixed[halves] = other[halves]
    return mixed


def combine(volume: Volume, random: Random) -> Volume:
    """Mirror left to right, rotate by 12 degrees, raise to the power of 0.8, warp by 3 mm, blur slightly and add slight noise.

    Args:
        volume, random: see above.
    """
    turned = warp(rotate(np.flip(volume, 2), random, degrees=12), random, mm=3)
    return soft(changes.gamma(turned.clip(0, 1), random, exponent=0.8), random)


def _voxels(volume: Volume, mm: float) -> float:
    return mm * max(volume.shape) / _FIELD_OF_VIEW


def _moved(
    volume: Volume, linear: np.ndarray, offset: np.ndarray | float = 0.0, displacement: np.ndarray | None = None
) -> Volume:
    """Resample a volume; the map leads from places of the result to places of the volume, about its centre."""
    centre = (np.array(volume.shape) - 1) / 2
    matrix = np.column_stack([linear, centre - linear @ centre + offset])
    moved, covered = pulled(np.ascontiguousarray(volume), matrix, volume.shape, displacement)
    return np.where(covered, moved, np.float32(0))


def _fitted(volume: Volume, shape: tuple[int, ...]) -> Volume:
    """Cut a volume, or surround it with black, so that it has a shape and keeps its centre."""
    result = np.zeros(shape, np.float32)
    into, out = [], []
    for old, new in zip(volume.shape, shape, strict=True):
        common = min(old, new)
        into.append(slice((new - common) // 2, (new - common) // 2 + common))
        out.append(slice((old - common) // 2, (old - common) // 2 + common))
    result[tuple(into)] = volume[tuple(out)]
    return result
