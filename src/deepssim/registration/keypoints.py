"""Keypoints of images, and how many of them two images share under one geometry.

Two levels of detail are used: SIFT at a longer side of 128 pixels finds copies that were rotated, shifted, cropped, warped or in
part replaced; SIFT of the image reduced to 64 pixels also survives blur and noise.

A descriptor is a histogram of gradients in 4x4 cells and 8 directions relative to the keypoint's own. In a mirror image the
cells along one axis and the directions are reversed; in a negative the keypoint's direction is opposite, so that the cells of
both axes are reversed. Both are permutations of the 128 numbers: mirror images and negatives need no extraction of their own.

Not here: which images to compare (vlad.py), similarity of registered images (proof.py).

Source: SIFT: Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94; square roots of descriptors: Arandjelovic and Zisserman 2012,
doi:10.1109/CVPR.2012.6248018; MAGSAC: Barath et al. 2019, arXiv:1803.07469.
"""

from typing import NamedTuple

import cv2
import numpy as np

LEVELS = (128, 64)  # pixels of the longer side to which an image is reduced before keypoints are found
FRAME = 128  # pixels of the longer side of the frame in which places are given
MOST = 300  # keypoints of an image and level
WIDTH = 128  # numbers of a descriptor
SYMMETRIES = ((False, False), (True, False), (False, True), (True, True))  # mirrored left to right, negative

_LAYERS, _SIGMA = 3, 1.6  # OpenCV's defaults
_CONTRAST = 0.004  # a tenth of OpenCV's default: soft tissue has little contrast
_EDGE = 20.0  # twice OpenCV's default: ribs and skulls are edges
_RANGE = (0.5, 99.5)  # percentiles that are stretched to black and white
_RATIO = 0.8  # of the distances to the best and the second-best descriptor
_LEAST = 4  # matches that can support a geometry: three always fit one
_TOLERANCE = 2.0  # pixels of the frame
_FLEXIBLE = 3.0  # pixels of the frame that a smooth warp may add
_MOST_TURN, _MOST_SCALE = np.deg2rad(20), 0.45  # radians and octaves between keypoints that fit a map
_MOST_STRETCH = 2.5  # no copy is enlarged, shrunk or squashed more
_ITERATIONS = 500
_CONFIDENCE = 0.99


class Keypoints(NamedTuple):
    """Keypoints of one image at one level.

    Attributes:
        places: float32 (K, 4), right and down in pixels of the frame, size in pixels, direction in radians from right to down.
        descriptors: uint8 (K, 128).
    """

    places: np.ndarray
    descriptors: np.ndarray


class Match(NamedTuple):
    """Keypoints that two images share under one geometry.

    Attributes:
        inliers: how many.
        matrix: float64 (2, 3), maps places of the first image to places of the second; None if there are too few.
        symmetry: row of `SYMMETRIES` under which they were found; the matrix includes the mirroring.
        pairs: int64 (inliers, 2), rows of the keypoints of both images.
    """

    inliers: int
    matrix: np.ndarray | None
    symmetry: int
    pairs: np.ndarray


NO_MATCH = Match(0, None, 0, np.zeros((0, 2), np.int64))


def _permutations() -> np.ndarray:
    """Return how the numbers of a descriptor are permuted by each symmetry, int64 (4, 128)."""
    cells = np.arange(WIDTH).reshape(4, 4, 8)
    mirrored = cells[::-1][:, :, (-np.arange(8)) % 8]
    return np.stack([
        (mirrored if mirror else cells)[:: -1 if negative else 1, :: -1 if negative else 1].ravel()
        for mirror, negative in SYMMETRIES
    ])  # fmt: skip


_PERMUTATIONS = _permutations()


def find_keypoints(image: np.ndarray) -> tuple[Keypoints, ...]:
    """Find the keypoints of an image at each level.

    Args:
        image: uint8 or uint16 (H, W).

    Returns:
        Keypoints by level, strongest first; none in a constant image.
    """
    stretched = _stretched(image)
    longer = max(stretched.shape)
    found = []
    for level in LEVELS:
        reduced = stretched if longer <= level else _resized(stretched, level / longer, cv2.INTER_AREA)
        drawn = _resized(reduced, FRAME / max(reduced.shape), cv2.INTER_CUBIC)
        sift = cv2.SIFT_create(MOST, _LAYERS, _CONTRAST, _EDGE, _SIGMA, descriptorType=cv2.CV_8U)  # type: ignore[attr-defined]
        points, descriptors = sift.detectAndCompute(drawn, None)
        # Equally strong keypoints can exceed the number asked for.
        places = np.array([(*point.pt, point.size, np.deg2rad(point.angle)) for point in points[:MOST]], np.float32)
        places = places.reshape(-1, 4)
        found.append(Keypoints(places, np.zeros((0, WIDTH), np.uint8) if descriptors is None else descriptors[:MOST]))
    return tuple(found)


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, _RANGE)
    if high <= low:
        low = float(image.min())
        high = max(float(image.max()), low + 1)
    return np.rint(np.clip((image - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)


def _resized(image: np.ndarray, factor: float, interpolation: int) -> np.ndarray:
    height, width = (max(1, round(side * factor)) for side in image.shape)
    return image if (height, width) == image.shape else cv2.resize(image, (width, height), interpolation=interpolation)


def unit_descriptors(descriptors: np.ndarray) -> np.ndarray:
    """Return the square roots of descriptors divided by their sums: uint8 (K, 128) to float32 of length 1."""
    values = descriptors.astype(np.float32)
    return np.sqrt(values / np.maximum(values.sum(axis=1, keepdims=True), 1))


def symmetric_descriptors(descriptors: np.ndarray) -> np.ndarray:
    """Return descriptors as they would be in the mirrored and negative image: uint8 (K, 128) to (4, K, 128)."""
    return descriptors[:, _PERMUTATIONS].transpose(1, 0, 2)


def match(first: Keypoints, second: Keypoints, symmetry: int, width: int = FRAME) -> Match:
    """Count the keypoints that two images share under one affine map.

    Args:
        first, second: of one level.
        symmetry: row of `SYMMETRIES` under which they are compared.
        width: of the first image in the frame.
    """
    if min(len(first.places), len(second.places)) < _LEAST:
        return NO_MATCH
    turned = first.descriptors[:, _PERMUTATIONS[symmetry]]
    pairs = _matches(unit_descriptors(turned), unit_descriptors(second.descriptors))
    if len(pairs) < _LEAST:
        return NO_MATCH
    return _geometry(first.places[pairs[:, 0]], second.places[pairs[:, 1]], pairs, symmetry, width)


def _matches(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return mutually nearest descriptors much nearer than the second nearest, rows of both, int64 (n, 2)."""
    similar = first @ second.T
    rows = np.arange(len(first))
    best, back = similar.argmax(axis=1), similar.argmax(axis=0)
    apart = 2 - 2 * similar[rows, best]
    similar[rows, best] = -1
    further = 2 - 2 * similar.max(axis=1)
    kept = (apart < _RATIO**2 * further) & (back[best] == rows)
    return np.stack([rows[kept], best[kept]], axis=1)


def _geometry(places: np.ndarray, others: np.ndarray, pairs: np.ndarray, symmetry: int, width: int) -> Match:
    mirrored, negative = SYMMETRIES[symmetry]
    start = places[:, :2].copy()
    if mirrored:
        start[:, 0] = width - 1 - start[:, 0]
    matrix, _ = cv2.estimateAffine2D(
        start, others[:, :2], method=cv2.USAC_MAGSAC, ransacReprojThreshold=_TOLERANCE, maxIters=_ITERATIONS,
        confidence=_CONFIDENCE,
    )  # fmt: skip
    if matrix is None or not plausible(matrix):
        return NO_MATCH
    if mirrored:
        matrix = matrix @ np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    kept = _consistent(places, others, matrix, negative=negative)
    return Match(int(kept.sum()), matrix, symmetry, pairs[kept])


def _consistent(places: np.ndarray, others: np.ndarray, matrix: np.ndarray, *, negative: bool) -> np.ndarray:
    """Return which keypoints lie where the map puts them, turned and scaled as it does, bool (K,)."""
    linear = matrix[:, :2]
    apart = np.linalg.norm(places[:, :2] @ linear.T + matrix[:, 2] - others[:, :2], axis=1)
    directions = np.stack([np.cos(places[:, 3]), np.sin(places[:, 3])], axis=1) @ linear.T * (-1 if negative else 1)
    turned = np.angle(np.exp(1j * (np.arctan2(directions[:, 1], directions[:, 0]) - others[:, 3])))
    scaled = np.log2(others[:, 2] / places[:, 2]) - np.log2(abs(np.linalg.det(linear))) / 2
    return (apart < _FLEXIBLE) & (np.abs(turned) < _MOST_TURN) & (np.abs(scaled) < _MOST_SCALE)


def plausible(matrix: np.ndarray) -> bool:
    """Return whether an affine map, float64 (2, 3), stretches and shrinks no direction more than a copy could be."""
    if not np.isfinite(matrix).all():
        return False
    # Singular values of a 2x2 matrix from its norm and determinant, a hundred times faster than by LAPACK.
    norm, determinant = (
        float((matrix[:, :2] ** 2).sum()),
        float(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]),
    )
    spread = max(norm * norm - 4 * determinant * determinant, 0.0) ** 0.5
    return norm + spread <= 2 * _MOST_STRETCH**2 and norm - spread >= 2 / _MOST_STRETCH**2
