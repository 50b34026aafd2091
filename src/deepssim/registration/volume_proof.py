"""Evidence that one volume copies another: similarity over the overlap after registration.

After an affine registration, a smooth displacement follows, so that warped copies are recognised. All cues are similarities from
-1 to 1.

Not here: the registration (volume_registration.py), which pairs are compared (detection/volume_search.py), what follows from it
(detection/score.py).
"""

from typing import NamedTuple

import numpy as np

from deepssim.images.resample_volumes import pulled, smoothed
from deepssim.registration.volume_flow import volume_flow
from deepssim.registration.volume_images import (
    correlation,
    equally_sharp,
    locally_normalised,
    overlap_ssim,
)
from deepssim.registration.volume_pattern import (
    pattern_in_poses,
    pattern_of_rotations,
    pattern_start,
    square,
)
from deepssim.registration.volume_poses import VolumePose
from deepssim.registration.volume_registration import SIDE, Levels, PreparedVolume, agreement, prepare_volume, register

_DETAIL = 2.0  # the same for the correlation that is evidence: finer structure differs more between people
_SMOOTHING = 0.7  # voxels of 64 before SSIM, so that noise matters less
_LEAST_OVERLAP = 0.2  # of the real volume's foreground
_POSES = 3  # from which pictures are registered
_MORE_POSES, _TURNS = 1, 3  # poses, and rotations of each, that are looked at beyond the pattern

VOLUME_CUES = (
    "pattern in place",
    "correlation registered",
    "SSIM registered",
    "correlation registered locally",
    "SSIM registered locally",
)
"""What speaks for a copy, in the order of `VolumeEvidence.cues`."""


class VolumeEvidence(NamedTuple):
    """What a pair has in common.

    Attributes:
        cues: float32 (5,), see `VOLUME_CUES`.
        overlap: fraction of the real volume's foreground that the other one's covers once registered, 0 to 1.
        transform: float64 (3, 4), maps voxels of the given real volume to voxels of the given other one; None if unregistered.
    """

    cues: np.ndarray
    overlap: float
    transform: np.ndarray | None


def prove_volumes(
    real: PreparedVolume | Levels, other: PreparedVolume | Levels, pose: VolumePose | np.ndarray, *, close: bool = False
) -> VolumeEvidence:
    """Register two volumes and measure their similarity.

    Args:
        real, other: volumes.
        pose: of the other volume in which both agree about, or a map of voxels of the prepared real volume to those of the
            prepared other one, float64 (3, 4).
        close: whether that map is already close.
    """
    fixed, moving = (item if isinstance(item, Levels) else Levels(item) for item in (real, other))
    start = _start(pose)
    in_place = best_pattern(fixed.prepared.pattern[None], moving.prepared.pattern)[0]
    matrix = register(fixed, moving, start, rigid_first=not close)
    affine, overlap = _compare(fixed, moving, matrix, None)
    if overlap < _LEAST_OVERLAP:
        return VolumeEvidence(np.array([in_place, 0, 0, 0, 0], np.float32), overlap, None)
    moved, _ = pulled(moving.values, matrix, fixed.values.shape)
    flow = volume_flow(fixed.values, moved, fixed.mask)
    local, _ = _compare(fixed, moving, matrix, flow)
    cues = [in_place, *affine, *(max(pair) for pair in zip(affine, local, strict=True))]
    return VolumeEvidence(np.array(cues, np.float32), overlap, between_volumes(matrix, fixed.prepared, moving.prepared))


def _start(pose: VolumePose | np.ndarray) -> np.ndarray:
    return np.linalg.inv(square(pose.matrix(SIDE)))[:3] if isinstance(pose, VolumePose) else pose


def between_volumes(matrix: np.ndarray, real: PreparedVolume, other: PreparedVolume) -> np.ndarray:
    """Return a map between prepared volumes as one between the given volumes, float64 (3, 4)."""
    return (square(other.placement) @ square(matrix) @ np.linalg.inv(square(real.placement)))[:3]


def without_volume_proof(in_place: float) -> VolumeEvidence:
    """Return the evidence of a pair that was not registered: the cosine of the patterns."""
    return VolumeEvidence(np.array([in_place, 0, 0, 0, 0], np.float32), 0.0, None)


def _compare(
    fixed: Levels, moving: Levels, matrix: np.ndarray, flow: np.ndarray | None
) -> tuple[tuple[float, float], float]:
    """Return correlation and SSIM over the overlap of the foregrounds, and the overlap as a fraction of the fixed one's."""
    shape = fixed.values.shape
    moved, covered = pulled(moving.values, matrix, shape, flow)
    inside, _ = pulled(moving.mask.astype(np.float32), matrix, shape, flow)
    mask = fixed.mask & covered & (inside > 0.5)
    overlap = float(mask.sum() / fixed.mask.sum())
    if overlap < _LEAST_OVERLAP:
        return (0.0, 0.0), overlap
    first, second = equally_sharp(fixed.values, moved, mask)
    detail = correlation(locally_normalised(first, _DETAIL), locally_normalised(second, _DETAIL), mask)
    return (detail, overlap_ssim(smoothed(first, _SMOOTHING), smoothed(second, _SMOOTHING), mask)), overlap


def best_pattern(patterns: np.ndarray, pattern: np.ndarray) -> tuple[float, int, int]:
    """Compare a pattern in all poses with those of a volume in small rotations.

    Args:
        patterns: float32 (R, 511).
        pattern: float32 (511,).

    Returns:
        The best cosine, the pose and the rotation.
    """
    scores = pattern_in_poses(pattern) @ patterns.T
    pose, rotation = divmod(int(scores.argmax()), len(patterns))
    return float(scores.max()), pose, rotation


def best_starts(fixed: Levels, moving: Levels, patterns: np.ndarray, count: int) -> list[np.ndarray]:
    """Return maps to start a registration from, of the best poses, each in its best rotation; float64 (3, 4).

    Args:
        fixed, moving: volumes.
        patterns: float32 (27, 511), of the fixed volume, see `pattern_of_rotations`.
        count: of maps.
    """
    scores = pattern_in_poses(moving.prepared.pattern) @ patterns.T
    poses = np.argsort(-scores.max(axis=1), kind="stable")[: count + _MORE_POSES]
    found = []
    for pose in poses:
        turns = np.argsort(-scores[pose], kind="stable")[:_TURNS]
        starts = [pattern_start(int(pose), int(turn), SIDE) for turn in turns]
        found.append(max(((agreement(fixed, moving, start), start) for start in starts), key=lambda item: item[0]))
    found.sort(key=lambda item: -item[0])
    return [start for _, start in found[:count]]


def aligned(real: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring a volume onto another one, for pictures.

    Args:
        real: uint8 (D, H, W).
        other: uint8 (d, h, w).

    Returns:
        `other` resampled onto the voxels of `real`, uint8 (D, H, W), black where it has none, and where it has, bool.
    """
    first, second = prepare_volume(real), prepare_volume(other)
    fixed, moving = Levels(first), Levels(second)
    trials = []
    for start in best_starts(fixed, moving, pattern_of_rotations(fixed.values), _POSES):
        matrix = register(fixed, moving, start, rigid_first=True)
        (detail, _), _ = _compare(fixed, moving, matrix, None)
        trials.append((detail, matrix))
    matrix = between_volumes(max(trials, key=lambda trial: trial[0])[1], first, second)
    moved, covered = pulled(other.astype(np.float32), matrix, real.shape)
    return np.rint(np.where(covered, moved, 0)).astype(np.uint8), covered
