"""Registration with correlation, as a detector of copied volumes to compare with the audit: linkage of scans without training.

Every scan is registered to the template MNI152 from any order and direction of its axes, intensities are matched, and scans are compared by
normalized correlation; then, for a second detector, each is registered to the real scan that it resembles most.

Not here: what detectors have in common, and embeddings (volumes_rivals.py).

Source: arXiv:2602.10043, registration to a template by standard tools, intensities matched, then similarity.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation

from benchmarks.copies_rivals import Part
from benchmarks.volumes_rivals import Judged, best_of, cut_out, decided, unit
from deepssim.datasets.virtual_patients import load_template
from deepssim.detection.gallery import single_threaded_libraries
from deepssim.images.resample_volumes import pulled
from deepssim.images.standardize import quantise
from deepssim.registration.volume_images import correlation, foreground, match_intensities
from deepssim.registration.volume_pattern import pattern_in_poses, square, volume_pattern
from deepssim.registration.volume_poses import VOLUME_POSES
from deepssim.registration.volume_registration import SIDE, prepare_volume

_POSES = 2  # from which registration to the template starts
_POINTS = 20_000  # at which registration compares volumes
_BINS = 32  # of mutual information
_STEPS = 100
_LEAST = 0.3  # of the template's or the real scan's foreground that a registered scan covers


@lru_cache(maxsize=1)
def template() -> np.ndarray:
    """Return the brain of MNI152, cut to the foreground, float32 (64, 64, 64), 0 to 1."""
    found = load_template()
    brain = np.clip(found.t1 * (found.brain > 0.5), 0, 1).transpose(2, 1, 0)
    widest = max(brain.shape)
    cube = np.zeros((widest,) * 3, np.float32)
    starts = [(widest - side) // 2 for side in brain.shape]
    cube[tuple(slice(start, start + side) for start, side in zip(starts, brain.shape, strict=True))] = brain
    return prepare_volume(quantise(cube, 8)).volume.astype(np.float32) / 255


class Step(NamedTuple):
    """A step of registration: whether the map is affine or rigid, and by how much volumes are reduced at each level."""

    affine: bool
    shrunk: tuple[int, ...]


RIGID, AFFINE, FINE = Step(False, (4, 2)), Step(True, (4, 2, 1)), Step(True, (2, 1))


def registered(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, step: Step) -> np.ndarray:
    """Register two volumes by mutual information.

    Args:
        fixed, moving: float32 (64, 64, 64).
        start: map of voxels of the fixed volume to those of the moving one, float64 (3, 4).
        step: kind of the map that is sought, and resolutions.

    Returns:
        Such a map.
    """
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(values) for values in (fixed, moving)]
    change = sitk.AffineTransform(3) if step.affine else sitk.Euler3DTransform()
    change.SetCenter([(SIDE - 1) / 2] * 3)
    method = sitk.ImageRegistrationMethod()
    method.SetGlobalWarningDisplay(False)
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(sitk.GetImageFromArray(binary_dilation(foreground(fixed), iterations=2).astype(np.uint8)))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentagePerLevel([min(1.0, _POINTS * (factor / SIDE) ** 3) for factor in step.shrunk], 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricUseMovingImageGradientFilter(False)  # gradients at the points only take a third of the time
    method.SetMetricUseFixedImageGradientFilter(False)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.01, _STEPS, 0.7)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(list(step.shrunk))
    method.SetSmoothingSigmasPerLevel([factor / 2 for factor in step.shrunk])
    method.SetMovingInitialTransform(_to_itk(start))
    method.SetInitialTransform(change, True)
    try:
        method.Execute(*images)
    except RuntimeError as error:
        if "samples" not in str(error):  # the volumes no longer overlap
            raise
        return start
    return (square(start) @ square(_from_itk(change)))[:3]


def to_template(volume: np.ndarray) -> np.ndarray:
    """Return the map of the template's voxels to those of a volume, from the best of some poses; float64 (3, 4).

    Args:
        volume: float32 (64, 64, 64).
    """
    target = template()
    cosines = pattern_in_poses(volume_pattern(volume)) @ volume_pattern(target)
    # The template is its own mirror image, so that mirror images of the volume need no start of their own.
    upright = [pose for pose in np.argsort(-cosines, kind="stable") if not VOLUME_POSES[pose].mirrored]
    found = []
    for pose in upright[:_POSES]:
        start = np.linalg.inv(square(VOLUME_POSES[pose].matrix(SIDE)))[:3]
        rigid = registered(target, volume, start, RIGID)
        found.append((_similarity(target, volume, rigid), rigid))
    return registered(target, volume, max(found, key=lambda item: item[0])[1], AFFINE)


def _kept_map(work: Path, volume: np.ndarray) -> np.ndarray:
    """Return the map of `to_template`, which two detectors need; the first one keeps it."""
    path = work / "maps" / f"{hashlib.sha256(volume.tobytes()).hexdigest()[:32]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, to_template(volume))
    return np.load(path)


def judge_by_registration(
    real: Part, learning: Part, judged: Part, threads: int, *, work: Path, directly: bool
) -> Judged:
    """Judge scans by their correlation after registration to a template.

    Args:
        real, learning, judged, threads: see `Detector`; there is nothing to learn.
        work: folder that keeps registrations to the template.
        directly: whether each scan is then registered to the real scan that it resembles most.
    """
    with single_threaded_libraries(), ThreadPoolExecutor(threads) as pool:
        sides = [cut_out(part).astype(np.float32) / 255 for part in (real, judged)]
        maps = [list(pool.map(partial(_kept_map, work), volumes)) for volumes in sides]
        rows, own, other = (_rows(*chosen) for chosen in ((sides[0], maps[0]), *_both_ways(sides, maps)))
        names = np.repeat(np.asarray(real.subjects, dtype=object), 2)
        found = [np.where(names[::2, None] == names[None], -np.inf, rows @ own.T), rows @ other.T]
        best = [scores.reshape(len(rows), -1, 2) for scores in found]
        if not directly:
            return decided(best[0].max(axis=(0, 2)), real.subjects, best_of(best[1].max(axis=2)))

        def again(side: int, place: int) -> float:
            partner, way = np.unravel_index(best[side][:, place].argmax(), (len(rows), 2))
            matrix = maps[side][place] if not way else _mirrored(maps[side][place])
            start = (square(matrix) @ np.linalg.inv(square(maps[0][partner])))[:3]
            fixed, moving = sides[0][partner], sides[side][place]
            return _similarity(fixed, moving, registered(fixed, moving, start, FINE))

        scores = [np.array(list(pool.map(partial(again, side), range(len(sides[side]))))) for side in (0, 1)]
    return decided(scores[0], real.subjects, (scores[1], best[1].max(axis=2).argmax(axis=0)))


def _both_ways(
    sides: Sequence[np.ndarray], maps: Sequence[Sequence[np.ndarray]]
) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Return each volume twice, with its map and with that of its mirror image."""
    return [
        (np.repeat(volumes, 2, axis=0), [way for matrix in chosen for way in (matrix, _mirrored(matrix))])
        for volumes, chosen in zip(sides, maps, strict=True)
    ]


def _mirrored(matrix: np.ndarray) -> np.ndarray:
    """Return the map of the template's voxels to those of a volume whose left and right are swapped."""
    swap = np.diag([1.0, 1.0, -1.0, 1.0])
    swap[2, 3] = SIDE - 1
    return (square(matrix) @ swap)[:3]


def _rows(volumes: np.ndarray, maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return registered volumes within the template's brain, intensities matched, centred and of length 1, float32 (N, V)."""
    target = template()
    mask = foreground(target)
    rows = []
    for volume, matrix in zip(volumes, maps, strict=True):
        moved, _ = pulled(volume, matrix, target.shape)
        values = match_intensities(moved, target, mask)[mask]
        rows.append(values - values.mean())
    return unit(np.stack(rows).astype(np.float32))


def _similarity(fixed: np.ndarray, moving: np.ndarray, matrix: np.ndarray) -> float:
    """Return the normalized correlation over the overlap of the foregrounds, intensities matched; 0 if they hardly overlap."""
    moved, covered = pulled(moving, matrix, fixed.shape)
    inside, _ = pulled(foreground(moving).astype(np.float32), matrix, fixed.shape)
    brain = foreground(fixed)
    mask = brain & covered & (inside > 0.5)
    if mask.sum() < _LEAST * brain.sum():
        return 0.0
    return correlation(fixed, match_intensities(moved, fixed, mask), mask)


def _to_itk(matrix: np.ndarray) -> Any:
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)  # whose axes are in the opposite order
    transform.SetMatrix(matrix[::-1, 2::-1].ravel())
    transform.SetTranslation(matrix[::-1, 3])
    return transform


def _from_itk(transform: Any) -> np.ndarray:
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [np.array(transform.TransformPoint(tuple(unit))) - origin for unit in np.eye(3)]
    return np.column_stack([*ends[::-1], origin])[::-1]
