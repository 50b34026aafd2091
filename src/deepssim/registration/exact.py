"""Exact SSIM of two images after registration: that of similarity/ssim.py over the pixels that both have.

Evidence (proof.py) takes out contrast and noise and is computed at 64 pixels; here grey values and resolution stay as they are,
so that the value can be compared with the SSIM that defines a duplicate.

Not here: finding the geometry (proof.py), choosing the pairs (detection/search.py).
"""

from typing import NamedTuple

import cv2
import numpy as np

from deepssim.registration.overlap import ssim_map, windows_inside
from deepssim.registration.poses import Pose, nearest_pose
from deepssim.registration.proof import SIDE, Evidence, normalised, refine, warp

LEAST_OVERLAP = 0.5  # of the real image: a smaller part says little about the whole
_FINEST = 256  # pixels of the longer side at which geometry is refined
_UNMOVED = np.eye(2, 3)


class Registered(NamedTuple):
    """Two images after registration.

    Attributes:
        ssim: exact SSIM over the overlap, -1 to 1.
        overlap: fraction of the real image that the other one covers, 0 to 1.
        pose: the pose of the other image, seen from the real one.
    """

    ssim: float
    overlap: float
    pose: Pose


def register(real: np.ndarray, other: np.ndarray, evidence: Evidence) -> Registered:
    """Register an image to a real one by an affine map and compute their exact SSIM.

    Args:
        real, other: uint8 or uint16 (H, W).
        evidence: of this pair, whose geometry is refined at the resolution of the images.

    Returns:
        The geometry of highest SSIM among those with enough overlap, `LEAST_OVERLAP`; one of them is no change at all.
    """
    trials = [(_UNMOVED, False)]
    if evidence.matrix is not None:
        start = rescale_map(evidence.matrix, (SIDE, SIDE), real.shape)
        refined = _refined(real, other, start, negative=evidence.negative)
        trials += [(start, evidence.negative), (refined, evidence.negative)]
    found = []
    for matrix, negative in trials:
        ssim, overlap = exact_ssim(real, other, matrix, negative=negative)
        if overlap >= LEAST_OVERLAP:
            found.append(Registered(ssim, overlap, nearest_pose(matrix, negative=negative)))
    return max(found, key=lambda item: item.ssim)


def exact_ssim(
    real: np.ndarray, other: np.ndarray, matrix: np.ndarray = _UNMOVED, *, negative: bool = False
) -> tuple[float, float]:
    """Return the SSIM of two images over their overlap, and the overlap as a fraction of the real image.

    As in similarity/ssim.py, images are z-scored and the range of the real image is `data_range`; both refer to the overlap,
    and only windows inside of it count. SSIM is 0 where there is no such window, or where one image is constant.

    Args:
        real, other: uint8 or uint16 (H, W).
        matrix: float64 (2, 3), maps places of the real image to places of the other one.
        negative: invert the intensities of the other image.
    """
    moved, mask = warp(other.astype(np.float64) * (-1 if negative else 1), matrix)
    windows, overlap = windows_inside(mask), float(mask.mean())
    if not windows.any() or np.ptp(real[mask]) == 0 or np.ptp(moved[mask]) == 0:
        return 0.0, overlap
    first, second = (
        np.where(mask, (image - image[mask].mean()) / image[mask].std(), 0)
        for image in (real.astype(np.float64), moved)
    )
    return float(ssim_map(first, second, float(np.ptp(first[mask])))[windows].mean()), overlap


def rescale_map(matrix: np.ndarray, before: tuple[int, ...], after: tuple[int, ...]) -> np.ndarray:
    """Return a map between two images of one size as the map between the same images resized.

    Args:
        matrix: float64 (2, 3), places right and down in pixels.
        before, after: height and width.
    """
    right, down = after[1] / before[1], after[0] / before[0]
    resize = np.array([[right, 0, (right - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return (resize @ np.vstack([matrix, [0, 0, 1]]) @ np.linalg.inv(resize))[:2]


def _refined(real: np.ndarray, other: np.ndarray, start: np.ndarray, *, negative: bool) -> np.ndarray:
    factor = min(1.0, _FINEST / max(real.shape))
    size = tuple(max(1, round(side * factor)) for side in real.shape)
    largest = np.iinfo(real.dtype).max
    fixed, moving = (
        cv2.resize(image.astype(np.float32) / largest, size[::-1], interpolation=cv2.INTER_AREA)
        for image in (real, other)
    )
    found = refine(
        normalised(fixed), normalised(1 - moving if negative else moving), rescale_map(start, real.shape, size)
    )
    return rescale_map(found, size, real.shape)
