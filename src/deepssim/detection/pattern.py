"""The coarse pattern of an image: square roots of its low frequencies, which noise, blur and compression leave alone.

Quarter turns and mirror images permute the numbers of a pattern and change signs, and a negative changes all signs, so that an
image is compared in all sixteen poses at the price of one.

Not here: keypoints (registration/keypoints.py), which find copies that were moved.
"""

import cv2
import numpy as np

from deepssim.registration.poses import POSES

SIDE = 32  # pixels from which frequencies are taken
_FREQUENCIES = 12  # along each side
LENGTH = _FREQUENCIES**2 - 1  # without the mean
_UNTURNED = tuple(pose for pose in POSES if not pose.negative)


def pattern(image: np.ndarray) -> np.ndarray:
    """Return the pattern of a square image.

    Args:
        image: uint8 (S, S).

    Returns:
        float32 (143,), of length 1; zero for a constant image.
    """
    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    values = cv2.dct(small)[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    rooted = np.sign(values) * np.sqrt(np.abs(values))
    norm = float(np.linalg.norm(rooted))
    return rooted / norm if norm > 0 else rooted


def pattern_in_poses(image: np.ndarray) -> np.ndarray:
    """Return the patterns of the eight poses that are no negatives, in the order of `POSES`, float32 (8, 143)."""
    return np.stack([pattern(np.ascontiguousarray(pose.of(image))) for pose in _UNTURNED])


def best_poses(patterns: np.ndarray, posed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare patterns with images in all poses.

    Args:
        patterns: float32 (N, 143).
        posed: float32 (8, T, 143), of T images.

    Returns:
        Cosine in the best pose, float32 (N, T), and its number in `POSES`, int64 (N, T).
    """
    scores = patterns @ posed.transpose(0, 2, 1)
    both = np.concatenate([scores, -scores])
    return both.max(axis=0), both.argmax(axis=0)
