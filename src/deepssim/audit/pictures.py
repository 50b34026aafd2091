"""The pictures by which a person can check a pair: registered, their difference, and the keypoints that they share.

Not here: reading the pictures (originals.py), their place in the page (gallery.py), the evidence that decides (detection/).
"""

from typing import NamedTuple

import cv2
import numpy as np

from deepssim.detection.pattern import best_poses, pattern, pattern_in_poses
from deepssim.images.standardize import quantise
from deepssim.registration.keypoints import FRAME, SYMMETRIES
from deepssim.registration.overlap import match_histogram, ssim_map
from deepssim.registration.partial import LEAST_KEYPOINTS, Coverage, coverage
from deepssim.registration.poses import POSES
from deepssim.registration.proof import (
    CUES,
    SIDE,
    Evidence,
    Prepared,
    best_symmetries,
    between_images,
    displace,
    first_look,
    local_flow,
    normalised,
    prepare,
    prove,
    refine,
    warp,
)

_REFINED = 256  # pixels of the longer side at which an affine map is refined
_LEAST_OVERLAP = 0.2  # of the real image


class PairPictures(NamedTuple):
    """A real and another image, the latter moved onto the former.

    Attributes:
        real: float32 (H, W), 0 to 1.
        other: float32 (h, w), 0 to 1, as it was.
        registered: float32 (H, W), 0 to 1, the other image moved; 0 where it has no pixels.
        matched: the same with the grey values of the real image; inverted if the other image is a negative.
        difference: float32 (H, W), 0 to 1, absolute difference of `real` and `matched`; 0 where the other image has no pixels. Its
            mean is never above that of the image without registration, unless only a part was copied.
        mask: bool (H, W), where the other image has pixels once moved.
        points: float32 (n, 2, 2), shared keypoints in the real and in the other image, right and down in pixels.
        cues: by name, as in `proof.CUES`.
        coverage: which part of the other image has a counterpart.
    """

    real: np.ndarray
    other: np.ndarray
    registered: np.ndarray
    matched: np.ndarray
    difference: np.ndarray
    mask: np.ndarray
    points: np.ndarray
    cues: dict[str, float]
    coverage: Coverage

    @property
    def overlap(self) -> float:
        """Fraction of the real image that the other one covers, 0 to 1."""
        return float(self.mask.mean())

    @property
    def partial(self) -> bool:
        """Whether the images have a part in common and differ in the rest."""
        return self.coverage.partial


def show_pair(real: np.ndarray, other: np.ndarray) -> PairPictures:
    """Register an image to a real one, at the resolution of the real one.

    Args:
        real: float32 (H, W), 0 to 1.
        other: float32 (h, w), 0 to 1, of any size.
    """
    squares = _Square.of(real), _Square.of(other)
    first, second = (prepare(quantise(square.image, 16)) for square in squares)
    scores, poses = best_poses(pattern(second.small)[None], pattern_in_poses(first.small)[:, None])
    pose, in_place = POSES[int(poses[0, 0])], float(scores[0, 0])
    evidence = prove(first, second, first_look(first, second, best_symmetries(first, second), pose, in_place))
    covered = coverage(first, second, evidence)
    points = _points(evidence, first, second, *squares)
    matrix, negative = _map(evidence, *squares, partial=covered.partial)
    # Where only a part was copied, the rest says nothing about its contrast and displacement.
    zone = _filled_hull(points[:, 0], real.shape) if covered.partial else np.ones(real.shape, bool)
    shown = 1 - other if negative else other
    found = _aligned(real, *_moved(real, shown, matrix, zone), zone)
    if not covered.partial:  # else a part lies on its counterpart, whatever the rest does
        found = _closer(real, found, _aligned(real, *_stretched(real, shown), zone))
    moved, matched, mask = found
    return PairPictures(
        real, other,
        np.where(mask, 1 - moved if negative else moved, 0).astype(np.float32),
        np.where(mask, matched, 0).astype(np.float32),
        np.where(mask, np.abs(real - matched), 0).astype(np.float32),
        mask, points, dict(zip(CUES, map(float, evidence.cues), strict=True)), covered,
    )  # fmt: skip


class _Aligned(NamedTuple):
    """An image in the frame of a real one, float32 (H, W), the same with its grey values matched, and where it has pixels, bool."""

    moved: np.ndarray
    matched: np.ndarray
    mask: np.ndarray


def _aligned(real: np.ndarray, moved: np.ndarray, mask: np.ndarray, zone: np.ndarray) -> _Aligned:
    matched = match_histogram(moved, real, mask & zone) if (mask & zone).any() else moved
    return _Aligned(moved, matched, mask)


def _stretched(real: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an image stretched to the frame of a real one, as it is without registration, and where it has pixels."""
    return cv2.resize(other, real.shape[::-1], interpolation=cv2.INTER_AREA), np.ones(real.shape, bool)


def _closer(real: np.ndarray, registered: _Aligned, stretched: _Aligned) -> _Aligned:
    """Return the registered image unless it differs more from the real one, where it has pixels, than without registration."""
    mask = registered.mask
    if not mask.any():
        return stretched
    # Grey values are matched within the same pixels, so that neither way has the easier task.
    fair = _aligned(real, stretched.moved, mask, mask)
    apart = [float(np.abs(real - item.matched)[mask].mean()) for item in (registered, fair)]
    return registered if apart[0] <= apart[1] else stretched


class _Square(NamedTuple):
    """An image padded with black to a square, as in the audit, float32 (S, S), and what was added at the top and on the left."""

    image: np.ndarray
    top: int
    left: int

    @classmethod
    def of(cls, image: np.ndarray) -> "_Square":
        height, width = image.shape
        side = max(height, width)
        square = cls(np.zeros((side, side), np.float32), (side - height) // 2, (side - width) // 2)
        square.image[square.top : square.top + height, square.left : square.left + width] = image
        return square

    def resized(self, side: int) -> np.ndarray:
        return cv2.resize(self.image, (side, side), interpolation=cv2.INTER_AREA)

    def to(self, side: int) -> np.ndarray:
        """Return the map from pixels of the image to those of the square resized to a side, float64 (3, 3)."""
        return _resize(len(self.image), side) @ np.array([[1.0, 0, self.left], [0, 1, self.top], [0, 0, 1]])


def _resize(source: int, target: int) -> np.ndarray:
    """Return the map between the pixels of an image and those of the resized one, float64 (3, 3)."""
    factor = target / source
    return np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]])


def _map(evidence: Evidence, real: _Square, other: _Square, *, partial: bool) -> tuple[np.ndarray, bool]:
    """Return the map from places of the real image to places of the other one, float64 (2, 3), and whether it is a negative."""
    match = max(evidence.matches, key=lambda item: item.inliers)
    by_keypoints = None if match.matrix is None else between_images(match.matrix, SIDE)
    if partial and by_keypoints is not None:
        # The rest of the images has nothing in common and would only lead a registration of the whole astray.
        found, negative, side = by_keypoints, SYMMETRIES[match.symmetry][1], SIDE
    else:
        starts = [] if evidence.matrix is None else [(evidence.matrix, evidence.negative)]
        if by_keypoints is not None and match.inliers >= LEAST_KEYPOINTS:
            starts.append((by_keypoints, SYMMETRIES[match.symmetry][1]))
        if not starts:
            starts = [(np.eye(3)[:2], False)]
        side = min(_REFINED, max(len(real.image), SIDE))
        fixed, moving = real.resized(side), other.resized(side)
        refined = [
            (matrix, negative)
            for start, negative in starts
            for matrix in _refined(fixed, 1 - moving if negative else moving, start)
        ]
        found, negative = max(refined, key=lambda item: _fit(fixed, 1 - moving if item[1] else moving, item[0]))
    full = np.linalg.inv(other.to(side)) @ np.vstack([found, [0, 0, 1]]) @ real.to(side)
    return full[:2], negative


def _refined(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray) -> list[np.ndarray]:
    """Return a map at 64 pixels as one between larger images, as it is and refined at rising resolution."""
    side = len(fixed)
    enlarged = _resize(SIDE, side)
    as_it_is = (enlarged @ np.vstack([start, [0, 0, 1]]) @ np.linalg.inv(enlarged))[:2]
    matrix, last = as_it_is, side
    for level in sorted({min(side, 2 * SIDE), side}):
        change = _resize(last, level)
        matrix = (change @ np.vstack([matrix, [0, 0, 1]]) @ np.linalg.inv(change))[:2]
        reduced = (cv2.resize(image, (level, level), interpolation=cv2.INTER_AREA) for image in (fixed, moving))
        fixed_level, moving_level = map(normalised, reduced)
        matrix, last = refine(fixed_level, moving_level, matrix), level
    return [as_it_is, matrix]


def _fit(fixed: np.ndarray, moving: np.ndarray, matrix: np.ndarray) -> float:
    """Return the SSIM over the overlap, -1 to 1."""
    moved, mask = warp(moving, matrix)
    if mask.sum() < _LEAST_OVERLAP * mask.size:
        return -1.0
    matched = match_histogram(moved, fixed, mask)
    return float(ssim_map(fixed, np.where(mask, matched, 0), 1.0)[mask].mean())


def _moved(real: np.ndarray, other: np.ndarray, matrix: np.ndarray, zone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move an image onto a real one by an affine map and then, within a zone, by a smooth local displacement."""
    factor = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if factor > 1:  # an image of more pixels would be undersampled
        height, width = (max(1, round(side / factor)) for side in other.shape)
        scale = np.array([[width / other.shape[1]], [height / other.shape[0]]])
        other = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)
        matrix = matrix * scale + np.concatenate([np.zeros((2, 2)), (scale - 1) / 2], axis=1)
    moved, mask = warp(other, matrix, real.shape)
    if not (mask & zone).any():
        return moved, mask
    flow = local_flow(real, match_histogram(moved, real, mask & zone), mask & zone)
    return displace(moved, flow), displace(mask.astype(np.float32), flow) > 0.99


def _filled_hull(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the convex hull of places, float32 (n, 2), right and down, as a mask, bool (H, W)."""
    hull = cv2.convexHull(np.rint(places).astype(np.int32))
    return cv2.fillConvexPoly(np.zeros(shape, np.uint8), hull, 1) > 0


def _points(
    evidence: Evidence, real: Prepared, other: Prepared, real_square: _Square, other_square: _Square
) -> np.ndarray:
    level = int(np.argmax([match.inliers for match in evidence.matches]))
    pairs = evidence.matches[level].pairs
    places = []
    for prepared, square, rows in ((real, real_square, pairs[:, 1]), (other, other_square, pairs[:, 0])):
        back = np.linalg.inv(square.to(FRAME))
        places.append(prepared.keypoints[level].places[rows, :2] @ back[:2, :2].T + back[:2, 2])
    return np.stack(places, axis=1).astype(np.float32)
