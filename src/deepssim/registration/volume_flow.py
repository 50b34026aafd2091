"""The smooth displacement that remains between two volumes after affine registration.

Each step solves the optical-flow equation in a Gaussian neighbourhood, coarse to fine. Displacements are so smooth that the
folding of one brain is not made that of another.

Not here: affine registration (volume_proof.py).

Source: Lucas and Kanade 1981; one denominator for the three directions, as in Thirion's demons, doi:10.1016/S1361-8415(98)80022-4.
"""

import numpy as np

from deepssim.images.resample_volumes import pulled, resized, smoothed
from deepssim.registration.volume_images import locally_normalised

_SIDE = 48  # voxels of the grid of displacements
_LEVELS = ((24, 8), (48, 14))  # voxels along each side, steps
_NEIGHBOURHOOD = 4.0  # voxels of 48: a displacement that varies faster would fit one volume to any other
_LOCAL = 3.0  # voxels of 48, in which contrast is normalised
_LEAST_GRADIENT = 0.02  # square of a gradient of normalised volumes, below which nothing moves


def volume_flow(fixed: np.ndarray, moved: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the displacement of places of a volume at which another one resembles it, float32 (3, S, S, S), in voxels.

    Args:
        fixed, moved: float32 (S, S, S), 0 to 1, in about the same place.
        mask: where both are foreground.
    """
    side = len(fixed)
    displacement = np.zeros((3, 2, 2, 2), np.float32)
    for level, steps in _LEVELS:
        scale = level / displacement.shape[1]
        displacement = np.stack([resized(part, level) for part in displacement]) * np.float32(scale)
        first, second = (
            locally_normalised(resized(volume, level), _LOCAL * level / _SIDE) for volume in (fixed, moved)
        )
        weight = resized(mask.astype(np.float32), level)
        displacement = _refine(first, second, weight, displacement, steps, _NEIGHBOURHOOD * level / _SIDE)
    return np.stack([resized(part, side) for part in displacement]) * np.float32(side / _SIDE)


def _refine(
    fixed: np.ndarray, moving: np.ndarray, weight: np.ndarray, start: np.ndarray, steps: int, neighbourhood: float
) -> np.ndarray:
    gradient = np.stack(np.gradient(fixed)).astype(np.float32)
    strength = smoothed((gradient * gradient).sum(axis=0) * weight, neighbourhood) / 3 + np.float32(_LEAST_GRADIENT)
    displacement = start
    for _ in range(steps):
        there, _ = pulled(moving, np.eye(3, 4), fixed.shape, displacement)
        rest = (fixed - there) * weight
        displacement = displacement + np.stack([smoothed(rest * part, neighbourhood) / strength for part in gradient])
    return displacement
