"""Bring volumes to one grid: axes to the right, anterior and superior, isotropic voxels, a cube of one side, 8 bits.

Not here: which files a volume is read from (scans.py), cutting it into slices (volumes.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepssim.errors import NotAVolume
from deepssim.images.intensity import Window
from deepssim.images.layouts import MIN_SIDE
from deepssim.images.standardize import quantise
from deepssim.images.volumes import Volume

NO_ORIENTATION = "orientation is not recorded: axes are taken as they are stored"
NOT_ISOTROPIC = "voxels are not isotropic: resampled to isotropic voxels"
_MAX_RATIO = 32.0  # of the largest and smallest spacing; beyond, the spacing is a mistake
_TOLERANCE = 0.01  # of their ratio


def spacing_of(volume: Volume) -> tuple[float, float, float]:
    """Return the distances of voxels along x, y and z; 1 each where the file says nothing that can be true."""
    found = tuple(abs(float(side)) for side in volume.spacing)
    if not np.isfinite(found).all() or min(found) <= 0 or max(found) > _MAX_RATIO * min(found):
        return 1.0, 1.0, 1.0
    return found[0], found[1], found[2]


def is_isotropic(volume: Volume) -> bool:
    """Return whether voxels are cubes to within 1 %."""
    spacing = spacing_of(volume)
    return max(spacing) <= (1 + _TOLERANCE) * min(spacing)


def isotropic_shape(volume: Volume) -> tuple[int, int, int]:
    """Return depth, height and width in isotropic voxels of the finest spacing."""
    spacing = spacing_of(volume)
    sides = [
        max(1, round(count * step / min(spacing))) for count, step in zip(volume.values.shape, spacing, strict=False)
    ]
    return sides[2], sides[1], sides[0]


def require_volume_shape(shape: Sequence[int], path: str | Path) -> None:
    """Check that voxels have three axes.

    Args:
        shape: of a volume.
        path: of its file, for the message.

    Raises:
        NotAVolume: if a side has fewer than 8 voxels.
    """
    if min(shape[:3]) < MIN_SIDE:
        raise NotAVolume(
            f"{path}: holds {'x'.join(str(side) for side in shape[:3])} voxels, and a volume has at least {MIN_SIDE} along each axis; "
            "compare such files as images (--unit image)"
        )


def to_grid(
    volume: Volume, number: int | None, side: int | Sequence[int], window: Window, *, bit_depth: int = 8
) -> np.ndarray:
    """Return a volume in the common grid.

    It is padded with black to a cube, or to the shape of another grid, so that its shape stays what it is, and resampled with a
    triangular filter as wide as the larger of old and new voxels, against aliasing.

    Args:
        volume: as a file stores it.
        number: which of several; None for their mean.
        side: voxels along each axis of the result, or depth, height and width of one that is no cube.
        window: of intensities.
        bit_depth: 8 or 16.

    Returns:
        uint8 or uint16 (side, side, side): inferior to superior, posterior to anterior, left to right, as far as the orientation
        is known.
    """
    spacing = spacing_of(volume)
    extents = [count * step for count, step in zip(volume.values.shape, spacing, strict=False)]
    size = (side, side, side) if isinstance(side, int) else tuple(side)
    widest = max(extent / voxels for extent, voxels in zip(extents, reversed(size), strict=True))
    across, along, up = (
        resampling(count, step, voxels, max(extents) if isinstance(side, int) else voxels * widest)
        for count, step, voxels in zip(volume.values.shape, spacing, reversed(size), strict=False)
    )
    found = np.zeros(size, np.float32)
    for index in range(volume.values.shape[2]):
        rows = np.flatnonzero(up[:, index])
        if len(rows):
            plane = along @ window.apply(volume.plane(number, 2, index)).T @ across.T
            found[rows] += up[rows, index, None, None] * plane
    return quantise(found, bit_depth)


def resampling(count: int, step: float, side: int, extent: float) -> np.ndarray:
    """Return the weights with which samples enter those of a coarser or finer grid of the same centre.

    Args:
        count: samples.
        step: their distance.
        side: samples of the new grid.
        extent: length of the new grid, in the unit of `step`.

    Returns:
        float32 (side, count); rows sum to 1, or to 0 outside the old grid.
    """
    cell = extent / side
    old = (np.arange(count) - (count - 1) / 2) * step
    new = (np.arange(side) - (side - 1) / 2) * cell
    weights = np.maximum(0, 1 - np.abs(new[:, None] - old[None]) / max(cell, step))
    sums = weights.sum(axis=1, keepdims=True)
    inside = np.abs(new)[:, None] <= count * step / 2
    return np.where(inside & (sums > 0), weights / np.maximum(sums, 1e-12), 0).astype(np.float32)
