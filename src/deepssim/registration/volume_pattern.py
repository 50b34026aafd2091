"""The coarse pattern of a volume, compared in all 48 orders and directions of the axes and in 27 small rotations.

A pattern consists of square roots of the low frequencies of the volume, as for images (detection/pattern.py): reversing an axis
changes signs and reordering axes reorders the numbers, so that 48 poses cost no more than one. The rotations are those of
the volume in which patterns are sought.

Not here: registration, which starts from the best pose (volume_proof.py).
"""

from itertools import product

import numpy as np
from scipy.fft import dctn
from scipy.spatial.transform import Rotation

from deepssim.images.resample_volumes import pulled, resized
from deepssim.registration.volume_poses import VOLUME_POSES

SIDE = 16  # voxels from which frequencies are taken
_FREQUENCIES = 8  # along each axis
LENGTH = _FREQUENCIES**3 - 1  # without the mean
_TURN = 15.0  # degrees about each axis: registration finds what is up to half of it away
_FINER = 32  # voxels along each side of the volumes that are rotated

_ROTATIONS = tuple(
    Rotation.from_rotvec(vector, degrees=True).as_matrix() for vector in product((0.0, _TURN, -_TURN), repeat=3)
)
ROTATIONS = len(_ROTATIONS)


def volume_pattern(volume: np.ndarray) -> np.ndarray:
    """Return the pattern of a cubic volume.

    Args:
        volume: float32 (S, S, S), 0 to 1, S a multiple of 16.

    Returns:
        float32 (511,), of length 1; zero for a constant volume.
    """
    factor = len(volume) // SIDE
    small = volume.reshape(SIDE, factor, SIDE, factor, SIDE, factor).mean(axis=(1, 3, 5))
    values = dctn(small, norm="ortho")[:_FREQUENCIES, :_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    rooted = np.sign(values) * np.sqrt(np.abs(values))
    norm = float(np.linalg.norm(rooted))
    return (rooted / norm if norm > 1e-6 else np.zeros(LENGTH)).astype(np.float32)


def pattern_of_rotations(volume: np.ndarray) -> np.ndarray:
    """Return the patterns of a cubic volume, float32 (S, S, S), and of the volume in small rotations, float32 (27, 511)."""
    small = resized(volume, _FINER)
    return np.stack([volume_pattern(pulled(small, _about_centre(turn, _FINER), small.shape)[0]) for turn in _ROTATIONS])


def pattern_in_poses(pattern: np.ndarray) -> np.ndarray:
    """Return the patterns of a volume in all poses, in the order of `VOLUME_POSES`, from its pattern, float32 (48, 511)."""
    cube = np.concatenate([np.zeros(1, np.float32), pattern]).reshape(_FREQUENCIES, _FREQUENCIES, _FREQUENCIES)
    odd = np.where(np.arange(_FREQUENCIES) % 2, -1, 1).astype(np.float32)
    found = []
    for pose in VOLUME_POSES:
        turned = cube.transpose(pose.axes)
        for axis, flip in enumerate(pose.flips):
            if flip:
                turned = turned * odd.reshape([-1 if place == axis else 1 for place in range(3)])
        found.append(turned.ravel()[1:])
    return np.stack(found)


def pattern_start(pose: int, rotation: int, side: int) -> np.ndarray:
    """Return the map of places of the volume that was rotated to places of the other one, float64 (3, 4), in voxels.

    Args:
        pose: of the other volume in which both agree, a row of `VOLUME_POSES`.
        rotation: of the first volume, a row of `pattern_of_rotations`.
        side: voxels along each side of both.
    """
    posed = np.linalg.inv(square(VOLUME_POSES[pose].matrix(side)))
    return (posed @ np.linalg.inv(square(_about_centre(_ROTATIONS[rotation], side))))[:3]


def square(matrix: np.ndarray) -> np.ndarray:
    """Return an affine map, (3, 4), as a square matrix, (4, 4)."""
    return np.vstack([matrix, [0, 0, 0, 1]])


def _about_centre(linear: np.ndarray, side: int) -> np.ndarray:
    centre = np.full(3, (side - 1) / 2)
    return np.column_stack([linear, centre - linear @ centre])
