"""Evidence that one image copies another: common keypoints, and SSIM over the overlap after registration.

Registration starts from the geometry of the keypoints and from a quarter turn or mirror image. It is refined by the enhanced
correlation coefficient (an affine map) and then, by smoothed optical flow, locally.

Not here: keypoints (keypoints.py), which pairs are compared (detection/search.py), what follows from it (detection/score.py).

Source: ECC: Evangelidis and Psarakis 2008, doi:10.1109/TPAMI.2008.113; flow: Kroeger et al. 2016, arXiv:1603.03590.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from deepssim.registration.keypoints import (
    FRAME,
    SYMMETRIES,
    Keypoints,
    Match,
    find_keypoints,
    match,
    plausible,
)
from deepssim.registration.overlap import match_histogram, overlap_ssim
from deepssim.registration.poses import Pose

SIDE = 64  # pixels of the images that are registered
_ITERATIONS, _PRECISION = 30, 1e-4
_ECC_SMOOTHING = 3  # pixels of the filter of ECC
_LOCAL = 6.0  # pixels of 64: the neighbourhood in which contrast is normalised for registration
_LEAST_CONTRAST = 0.03  # of the intensity range; weaker structures are noise
_LEAST_FLOW_SIDE = 16  # pixels; with a shorter side, OpenCV's flow crashes the process
_FLOW_SMOOTHING = 4.0  # pixels: a displacement that varies faster would fit one image to any other
_LEAST_INLIERS = 5  # keypoints that a registration starts from
_LEAST_OVERLAP = 0.2  # of the real image
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ITERATIONS, _PRECISION)

CUES = ("keypoints", "keypoints of the reduced image", "pattern in place", "SSIM registered", "SSIM registered locally")
"""What speaks for a copy, in the order of `Evidence.cues`: numbers of keypoints, then similarities from -1 to 1."""


@dataclass(frozen=True)
class Prepared:
    """What is computed once per image.

    Attributes:
        keypoints: by level.
        small: uint8 (64, 64), the image whatever its aspect ratio.
    """

    keypoints: tuple[Keypoints, ...]
    small: np.ndarray


class FirstLook(NamedTuple):
    """What is cheap to know of a pair.

    Attributes:
        matches: common keypoints by level.
        in_place: cosine of the coarse patterns without registration, in the best pose, -1 to 1.
        pose: of the real image that resembles the other one most.
    """

    matches: tuple[Match, ...]
    in_place: float
    pose: Pose

    @property
    def best_match(self) -> Match:
        """The level with more keypoints."""
        return max(self.matches, key=lambda item: item.inliers)


class Evidence(NamedTuple):
    """What a pair has in common.

    Attributes:
        cues: float32 (5,), see `CUES`.
        overlap: fraction of the real image that the other one covers once registered, 0 to 1.
        matrix: float64 (2, 3), maps places of the real image to places of the other one, at 64 pixels; None if unregistered.
        negative: whether intensities are inverted.
        matches: common keypoints by level, of the other and of the real image.
    """

    cues: np.ndarray
    overlap: float
    matrix: np.ndarray | None
    negative: bool
    matches: tuple[Match, ...]


class _Trial(NamedTuple):
    affine: float
    local: float
    overlap: float
    matrix: np.ndarray
    negative: bool


def prepare(image: np.ndarray) -> Prepared:
    """Prepare an image for comparisons.

    Args:
        image: uint8 or uint16 (H, W).
    """
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if image.dtype == np.uint16:
        small = np.rint(small / 257.0).astype(np.uint8)
    return Prepared(find_keypoints(image), small)


def best_symmetries(real: Prepared, other: Prepared) -> list[int]:
    """Return the symmetry under which most keypoints agree, by level; the search knows it from the retrieval of candidates."""
    return [
        max(range(len(SYMMETRIES)), key=lambda symmetry: match(first, second, symmetry).inliers)
        for first, second in zip(other.keypoints, real.keypoints, strict=True)
    ]


def first_look(real: Prepared, other: Prepared, symmetries: Sequence[int], pose: Pose, in_place: float) -> FirstLook:
    """Count common keypoints.

    Args:
        real, other: images.
        symmetries: under which keypoints are compared, by level, rows of `keypoints.SYMMETRIES`.
        pose: in which the patterns of the real and the other image agree best.
        in_place: their cosine.
    """
    matches = tuple(
        match(first, second, symmetry)
        for first, second, symmetry in zip(other.keypoints, real.keypoints, symmetries, strict=True)
    )
    return FirstLook(matches, in_place, pose)


def prove(real: Prepared, other: Prepared, look: FirstLook, *, in_place: bool = True) -> Evidence:
    """Register two images and measure their similarity.

    Args:
        real, other: images.
        look: at the pair.
        in_place: whether registration also starts from the pose in which the patterns agree, not just from the keypoints.
    """
    trials = _trials(real, other, look.pose.matrix(SIDE), negative=look.pose.negative, keep=True) if in_place else []
    found = look.best_match
    if found.inliers >= _LEAST_INLIERS and found.matrix is not None:
        start = between_images(found.matrix, SIDE)
        trials += _trials(real, other, start, negative=SYMMETRIES[found.symmetry][1], keep=False)
    if not trials:
        return without_proof(look)
    best = max(trials, key=lambda trial: trial.local)
    cues = [*(item.inliers for item in look.matches), look.in_place, max(trial.affine for trial in trials), best.local]
    return Evidence(np.array(cues, np.float32), best.overlap, best.matrix, best.negative, look.matches)


def without_proof(look: FirstLook) -> Evidence:
    """Return the evidence of a pair that was not registered; its SSIM counts as 0."""
    cues = [*(item.inliers for item in look.matches), look.in_place, 0.0, 0.0]
    return Evidence(np.array(cues, np.float32), 0.0, None, look.pose.negative, look.matches)


def _trials(real: Prepared, other: Prepared, start: np.ndarray, *, negative: bool, keep: bool) -> list[_Trial]:
    """Register from one start; with `keep` the start itself counts, too, since ECC can run astray."""
    fixed, moving = _unit(real.small), _unit(other.small, negative=negative)
    found = []
    refined = refine(normalised(fixed), normalised(moving), start)
    for matrix in (refined, start) if keep and refined is not start else (refined,):
        affine, overlap = _compare(fixed, moving, matrix)
        if overlap >= _LEAST_OVERLAP:
            found.append((affine, overlap, matrix))
    if not found:
        return []
    affine, overlap, matrix = max(found, key=lambda item: item[0])
    moved, mask = warp(moving, matrix)
    flow = local_flow(match_histogram(fixed, moved, mask), moved, mask)
    flowed = displace(moved, flow), displace(mask.astype(np.float32), flow) > 0.99
    return [_Trial(affine, max(affine, overlap_ssim(fixed, *flowed)), overlap, matrix, negative)]


def refine(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Refine an affine map by the enhanced correlation coefficient.

    Args:
        fixed, moving: float32 (H, W).
        start: float64 (2, 3), maps places of the fixed image to places of the moving one.

    Returns:
        The refined map; the start itself where no better one is found.
    """
    try:
        _, matrix = cv2.findTransformECC(
            fixed, moving, start.astype(np.float32), cv2.MOTION_AFFINE, _CRITERIA, None, _ECC_SMOOTHING
        )
    except cv2.error as error:
        if error.code != cv2.Error.StsNoConv:  # nothing to correlate, or no step that improves
            raise
        return start
    return matrix.astype(np.float64) if plausible(matrix) else start


def warp(moving: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return an image moved by a map from the result's places to its own, float32, and where it has pixels, bool.

    Args:
        moving: float32 (h, w).
        matrix: float64 (2, 3).
        shape: height and width of the result; those of the image unless given.
    """
    height, width = moving.shape if shape is None else shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(moving, matrix, (width, height), flags=flags)
    covered = cv2.warpAffine(np.ones_like(moving), matrix, (width, height), flags=flags)
    return moved, covered > 0.99


def local_flow(fixed: np.ndarray, moved: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the smooth displacement that remains between two images, float32 (H, W, 2), right and down in pixels.

    Args:
        fixed, moved: float32 (H, W), 0 to 1, of similar contrast.
        mask: where `moved` has pixels.
    """
    first, second = (np.clip(255 * image, 0, 255).astype(np.uint8) for image in (fixed, np.where(mask, moved, fixed)))
    height, width = fixed.shape
    size = max(width, _LEAST_FLOW_SIDE), max(height, _LEAST_FLOW_SIDE)
    larger = (cv2.resize(image, size) for image in (first, second))
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*larger, None)  # type: ignore[attr-defined]
    flow = cv2.resize(flow, (width, height)) * np.array([width / size[0], height / size[1]], np.float32)
    smoothing = _FLOW_SMOOTHING * max(fixed.shape) / SIDE
    return cv2.GaussianBlur(flow, (0, 0), smoothing)


def displace(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return an image sampled at displaced places, float32 (H, W)."""
    down, right = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(
        image, right + flow[..., 0], down + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _compare(fixed: np.ndarray, moving: np.ndarray, matrix: np.ndarray) -> tuple[float, float]:
    """Return SSIM over the overlap and the overlap."""
    moved, mask = warp(moving, matrix)
    return overlap_ssim(fixed, moved, mask), float(mask.mean())


def normalised(image: np.ndarray) -> np.ndarray:
    """Return an image whose local mean is 0 and whose local deviation is 1: bias fields do not lead registration astray.

    Args:
        image: float32 (H, W), 0 to 1.

    Returns:
        float32 (H, W), no unit.
    """
    neighbourhood = _LOCAL * max(image.shape) / SIDE
    centred = image - cv2.GaussianBlur(image, (0, 0), neighbourhood)
    variance = cv2.GaussianBlur(centred * centred, (0, 0), neighbourhood)
    return centred / np.sqrt(variance + _LEAST_CONTRAST**2)


def _unit(image: np.ndarray, *, negative: bool = False) -> np.ndarray:
    values = image.astype(np.float32) / 255
    return 1 - values if negative else values


def between_images(matrix: np.ndarray, side: int) -> np.ndarray:
    """Return the inverse of a map between keypoints as a map between square images.

    Args:
        matrix: float64 (2, 3), maps places of keypoints of the first image to those of the second.
        side: of the images in pixels.

    Returns:
        float64 (2, 3), maps pixels of the second image to pixels of the first.
    """
    scale = side / FRAME
    resize = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    full = resize @ np.vstack([matrix, [0, 0, 1]]) @ np.linalg.inv(resize)
    return np.linalg.inv(full)[:2]
