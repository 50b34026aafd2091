"""Whether neighbouring planes of a volume belong together, as those of one body do.

An array (X, Y, Z, N) is read as X volumes of N planes, and pictures `slice_sample.png` as one volume per slice: planes of
different bodies, of which none is a copy of anything.

Not here: reading volumes (scans.py), what an audit makes of it (audit/comparability.py).
"""

import numpy as np

from deepssim.images.intensity import Window
from deepssim.images.volumes import Volume, planes_of, slowest_axis

PLANES_APART = "neighbouring planes differ as those of different volumes do"
_CELLS = 16  # along each side of a plane: coarse enough that planes some millimetres apart are alike
# Correlation of neighbours: below 0.1 for different bodies; 0.6 for MR scans in slices of 9 mm, 0.27 of 20 mm.
_APART = 0.15
_TOGETHER = 0.5  # correlation along another axis, without which a volume is noise in every direction


def are_planes_apart(volume: Volume, number: int | None, window: Window) -> bool:
    """Return whether planes across one axis are unlike their neighbours, and those across another axis are not.

    Args:
        volume: as a file stores it, at least 3 voxels along each axis.
        number: which of several; None for their mean.
        window: of intensities.
    """
    found = [_neighbours(planes) for planes in _coarse(volume, number, window)]
    return min(found) < _APART and max(found) > _TOGETHER


def _coarse(volume: Volume, number: int | None, window: Window) -> list[np.ndarray]:
    """Return all planes across x, y and z in few cells, float32 (planes, cells), in one pass over the volume."""
    shape = volume.values.shape[:3]
    first = slowest_axis(volume)
    second, third = (axis for axis in range(3) if axis != first)
    reduce = [_means(side) for side in shape]
    across = [np.zeros((side, _CELLS, _CELLS), np.float32) for side in shape]
    for index, plane in enumerate(planes_of(volume, number)):
        shown = window.apply(plane)
        half, other = reduce[second] @ shown, shown @ reduce[third].T
        across[first][index] = half @ reduce[third].T
        weights = reduce[first][:, index]
        across[second] += other[:, None] * weights[:, None]
        across[third] += half.T[:, None] * weights[:, None]
    return [planes.reshape(len(planes), -1) for planes in across]


def _means(side: int) -> np.ndarray:
    """Return the weights of cells that divide a side, float32 (cells, side); rows sum to 1, also where cells outnumber voxels."""
    cell = np.minimum(np.arange(side) * _CELLS // side, _CELLS - 1)
    weights = (cell == np.arange(_CELLS)[:, None]).astype(np.float32)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1)


def _neighbours(planes: np.ndarray) -> float:
    """Return the correlation of neighbouring planes about the mean of all, -1 to 1; 1 where all are alike."""
    shown = planes[np.ptp(planes, axis=1) > 0]  # empty ones are alike whatever the volume
    rest = shown - shown.mean(axis=0) if len(shown) else shown
    total = float((rest**2).sum())
    if len(rest) < 3 or not total:
        return 1.0
    return float((rest[1:] * rest[:-1]).sum()) / total
