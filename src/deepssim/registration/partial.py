"""Whether two images have a part in common only: a lesion, a lung, half a head.

In a copy of a part, the keypoints that both images share lie close together, and the images agree among these keypoints but
nowhere else. In a copy of the whole that was cropped, blurred or warped, the shared keypoints may cover a part of it, too, but
the images agree in the rest as well as among the keypoints.

Not here: the evidence that two images have something in common at all (proof.py).
"""

from typing import NamedTuple

import cv2
import numpy as np

from deepssim.registration.keypoints import FRAME, SYMMETRIES, Match
from deepssim.registration.overlap import match_histogram, ssim_map
from deepssim.registration.proof import CUES, SIDE, Evidence, Prepared, between_images, warp
from deepssim.similarity.ssim_constants import WINDOW

LEAST_KEYPOINTS = 12  # shared ones; fewer are too few to tell where they end
MOST_COVERED = 0.6  # of the image, by the shared keypoints of a part
_LEAST_INSIDE = 0.92  # SSIM among the shared keypoints
_MOST_OUTSIDE = 0.55  # SSIM elsewhere
_MOST_WHOLE = (
    0.88  # SSIM of the whole after local registration; warped copies exceed it, which have no common affine map
)
_LEAST_STRUCTURE = 0.02  # of the intensity range: mean local deviation without which nothing can differ
_SMOOTHING = 1.5  # pixels before SSIM, so that noise and blur matter less


class Coverage(NamedTuple):
    """How much of a synthetic image has a counterpart in a real one.

    Attributes:
        keypoints: number of shared ones.
        covered: area of their convex hull relative to that of all keypoints of the synthetic image, 0 to 1.
        inside: SSIM within the hull after registration by these keypoints, weighted by contrast, -1 to 1.
        outside: the same beyond it; equal to `inside` where there is nothing to compare.
        whole: SSIM over the overlap after local registration, -1 to 1.
    """

    keypoints: int
    covered: float
    inside: float
    outside: float
    whole: float

    @property
    def partial(self) -> bool:
        """Whether a part of the image is a copy, and the rest is not."""
        return (
            self.keypoints >= LEAST_KEYPOINTS
            and self.covered < MOST_COVERED
            and self.inside > _LEAST_INSIDE
            and self.outside < _MOST_OUTSIDE
            and self.whole < _MOST_WHOLE
        )


def coverage(real: Prepared, other: Prepared, evidence: Evidence) -> Coverage:
    """Measure which part of an image has a counterpart in a real one.

    Args:
        real, other: square images.
        evidence: of the pair, from `proof.prove`.
    """
    level = int(np.argmax([found.inliers for found in evidence.matches]))
    match, whole = evidence.matches[level], float(evidence.cues[CUES.index("SSIM registered locally")])
    if match.inliers < LEAST_KEYPOINTS or match.matrix is None:
        return Coverage(match.inliers, 0.0, 0.0, 0.0, whole)
    places = np.ascontiguousarray(other.keypoints[level].places[:, :2])
    hull = cv2.convexHull(places[match.pairs[:, 0]])
    covered = cv2.contourArea(hull) / max(cv2.contourArea(cv2.convexHull(places)), 1.0)
    return Coverage(match.inliers, float(covered), *_agreement(real, other, match, hull), whole)


def _agreement(real: Prepared, other: Prepared, match: Match, hull: np.ndarray) -> tuple[float, float]:
    """Return the SSIM of registered images within the hull, given in places of the other image, and beyond it."""
    assert match.matrix is not None
    fixed, moving = (image.small.astype(np.float32) / 255 for image in (real, other))
    moved, mask = warp(1 - moving if SYMMETRIES[match.symmetry][1] else moving, between_images(match.matrix, SIDE))
    corners = (cv2.transform(hull, match.matrix) + 0.5) * (SIDE / FRAME) - 0.5
    filled = cv2.fillConvexPoly(np.zeros(fixed.shape, np.uint8), np.rint(corners).astype(np.int32), 1)
    window = np.ones((WINDOW, WINDOW), np.uint8)
    within, beyond = (filled > 0) & mask, (cv2.dilate(filled, window) == 0) & mask
    if not within.any():
        return 0.0, 0.0
    expected = match_histogram(fixed, moved, within)
    first, second = (cv2.GaussianBlur(np.where(mask, image, 0), (0, 0), _SMOOTHING) for image in (expected, moved))
    span = max(float(np.ptp(moved[mask])), 0.1)
    similar = ssim_map(first, second, span)
    weights = np.maximum(_deviation(first), _deviation(second))
    inside = float(np.average(similar[within], weights=weights[within] + 1e-6))
    usable = beyond & (cv2.erode(mask.astype(np.uint8), window) > 0)
    if not usable.any() or weights[usable].mean() < _LEAST_STRUCTURE * span:
        return inside, inside
    return inside, float(np.average(similar[usable], weights=weights[usable]))


def _deviation(image: np.ndarray) -> np.ndarray:
    mean, square = (cv2.blur(values, (WINDOW, WINDOW)) for values in (image, image * image))
    return np.sqrt(np.maximum(square - mean * mean, 0))
