"""Volumes in which nothing can be recognised: several bodies in one, no dark background, all of a body in a few grey levels.

Each is said of synthetic volumes only if training volumes are not so as often, since like volumes are compared alike.

Not here: other differences between the sides (comparability.py).
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import binary_erosion, label

from deepssim.images.folders import Collection
from deepssim.images.resample_volumes import resized
from deepssim.registration.volume_images import foreground

_SIDE = 48  # voxels along each side: of 3x3x3 heads, each has 16
_ALIKE = 0.5  # size of the second largest body in that of the largest, from which it may be another scan
_FILLED = 0.97  # of a volume's voxels: no body fills a box
_FEW_LEVELS = 10.0  # between the quartiles of what is shown: MR scans of the head have 30 to 128
_SPECK = 0.05  # of a volume's voxels: MR scans of the head have a foreground of 45 to 65 %

SEVERAL, NO_BACKGROUND, FEW_LEVELS = (
    "synthetic volumes may hold several scans",
    "synthetic volumes without dark background",
    "synthetic volumes with few grey levels",
)


def volume_findings(real: Collection, synthetic: Collection) -> list[tuple[str, str]]:
    """Say which synthetic volumes hide copies, since they are not what the search can compare.

    Args:
        real, synthetic: volumes uint8 (N, S, S, S).

    Returns:
        Short name and one sentence for each finding.
    """
    found = []
    for kind, check, text in (
        (SEVERAL, _shows_several,
         "{verb} several bodies of similar size apart from each other, as where several volumes were stored side by side, and copies among "
         "those go unseen: store each volume as a file of its own"),
        (NO_BACKGROUND, _has_no_background,
         "{verb} no background that is darker than the body, and copies among those go unseen: store them with a dark background, as the "
         "training images are"),
        (FEW_LEVELS, _has_few_levels,
         "{verb} most of what is in them in a few grey levels, as where a few voxels are far brighter than all others, and copies among "
         "those go unseen: cut off such values"),
    ):  # fmt: skip
        count, total = _more_often(real, synthetic, check)
        if count:
            verb = "shows" if count == 1 else "show"
            found.append((kind, f"{count:,} of {total:,} synthetic images {text.format(verb=verb)}"))
    return found


def _more_often(real: Collection, synthetic: Collection, check: Callable[[np.ndarray], bool]) -> tuple[int, int]:
    """Return how many synthetic volumes a check holds of, 0 where it holds of training volumes half as often, and how many there are."""
    holds = [np.array([check(volume) for volume in side.pack.images]) for side in (real, synthetic)]
    return int(holds[1].sum()) if holds[1].mean() > 2 * holds[0].mean() else 0, len(holds[1])


def _shows_several(volume: np.ndarray) -> bool:
    mask = foreground(resized(volume.astype(np.float32) / 255, _SIDE))
    parts, count = label(binary_erosion(mask))  # bodies that touch are joined by a few voxels
    if count < 2:
        return False
    largest, second = np.sort(np.bincount(parts.ravel())[1:])[[-1, -2]]
    return bool(second >= _ALIKE * largest)


def _has_no_background(volume: np.ndarray) -> bool:
    inside = _within_padding(volume)
    return bool(inside.size and np.ptp(inside) > 0 and foreground(inside.astype(np.float32) / 255).mean() > _FILLED)


def _has_few_levels(volume: np.ndarray) -> bool:
    shown = volume[volume > 0]
    if not len(shown) or shown.min() == shown.max():
        return False  # nothing is shown, which is a finding of its own
    lower, upper = np.quantile(shown, (0.25, 0.75))
    inside = _within_padding(volume).astype(np.float32) / 255
    return bool(upper - lower < _FEW_LEVELS or foreground(inside).mean() < _SPECK)


def _within_padding(volume: np.ndarray) -> np.ndarray:
    """Return a volume without the black planes that made it a cube."""
    places = [np.flatnonzero(volume.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return volume[tuple(slice(found[0], found[-1] + 1) if len(found) else slice(0) for found in places)]
