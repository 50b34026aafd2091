"""SSIM over the overlap of two registered images, with contrast, saturation and a bias field taken out.

The histogram of one image is matched to that of the other, and a linear regression with position as a factor does the rest.

Not here: registration (proof.py), SSIM of grey values as they are (exact.py, similarity/ssim.py).
"""

import cv2
import numpy as np

from deepssim.similarity.ssim_constants import K1, K2, WINDOW

_SIDE = 64  # pixels of the images that are compared
_SMOOTHING = 1.5  # pixels of the smoothing before SSIM, so that noise and blur matter less
_LEAST_WINDOWS = 200  # SSIM windows in the overlap, and as many with structure; few real images have less than 900
_LEAST_STRUCTURE = 0.03  # standard deviation within a window, of the range of intensities
_LEAST_SPAN = 0.1  # range of intensities below which differences are noise
_LEAST_BACK = 0.5  # SSIM when the second image is fitted to the first; copies of X-rays and MR slices have 0.6 or more


def match_histogram(real: np.ndarray, other: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a real image with the grey values of another one: gain, gamma and saturation are then equal.

    Args:
        real, other: float32 (H, W), 0 to 1.
        mask: where both have pixels.
    """
    coarse, target = (np.clip(np.rint(image * 255), 0, 255).astype(np.uint8) for image in (real, other))
    counts, wanted = (np.bincount(image[mask], minlength=256).cumsum() / mask.sum() for image in (coarse, target))
    middle = counts - np.diff(counts, prepend=0) / 2
    return (np.minimum(np.searchsorted(wanted, middle), 255) / 255).astype(np.float32)[coarse]


def overlap_ssim(fixed: np.ndarray, moved: np.ndarray, mask: np.ndarray) -> float:
    """Return the SSIM of two registered images, the contrast of the first fitted to that of the second.

    Any image can be made a nearly empty one. So the second image must have structure beyond a plane, and where it can by no means
    be made the first, the mean of both directions counts. The first direction alone allows for saturation, which loses detail.

    Args:
        fixed, moved: float32 (64, 64), 0 to 1.
        mask: bool (64, 64), where both have pixels.

    Returns:
        -1 to 1; 0 where the overlap holds too few windows, or too few with structure.
    """
    windows = windows_inside(mask)
    if int(windows.sum()) < _LEAST_WINDOWS or int((windows & _structured(moved, mask)).sum()) < _LEAST_WINDOWS:
        return 0.0
    forth, back = _fitted_ssim(fixed, moved, mask, windows), _fitted_ssim(moved, fixed, mask, windows)
    return forth if back >= _LEAST_BACK else (forth + back) / 2


def _structured(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the windows in which a smoothed image deviates from a plane, bool (H, W)."""
    smooth = cv2.GaussianBlur(np.where(mask, image, 0), (0, 0), _SMOOTHING)
    plane = np.stack([np.ones(image.size), _DOWN.ravel(), _RIGHT.ravel()])
    weights, *_ = np.linalg.lstsq(plane[:, mask.ravel()].T, smooth[mask], rcond=None)
    rest = np.where(mask, smooth - (weights @ plane).reshape(image.shape), 0)
    mean, square = (cv2.blur(values, (WINDOW, WINDOW)) for values in (rest, rest * rest))
    return np.sqrt(np.maximum(square - mean * mean, 0)) > _LEAST_STRUCTURE * _span(image, mask)


def _span(image: np.ndarray, mask: np.ndarray) -> float:
    return max(float(np.ptp(image[mask])), _LEAST_SPAN)


def _fitted_ssim(source: np.ndarray, target: np.ndarray, mask: np.ndarray, windows: np.ndarray) -> float:
    expected = _without_bias(match_histogram(source, target, mask), target, mask)
    first, second = (cv2.GaussianBlur(np.where(mask, image, 0), (0, 0), _SMOOTHING) for image in (expected, target))
    return float(ssim_map(first, second, _span(target, mask))[windows].mean())


def windows_inside(mask: np.ndarray) -> np.ndarray:
    """Return the centres of SSIM windows that lie inside a mask, bool (H, W)."""
    window = np.ones((WINDOW, WINDOW), np.uint8)
    return cv2.erode(mask.astype(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0


def _without_bias(real: np.ndarray, other: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Regress an image on another one, on position, and on their product: a bias field of the first order."""
    inside = mask.ravel()
    ones = np.ones(real.size)
    place = np.stack([ones, _DOWN.ravel(), _RIGHT.ravel()])
    terms = np.concatenate([place, place * real.ravel()])
    chosen = terms[:, inside]
    weights = np.linalg.solve(chosen @ chosen.T + 1e-2 * np.eye(len(terms)), chosen @ other.ravel()[inside])
    return (weights @ terms).astype(np.float32).reshape(real.shape)


def ssim_map(first: np.ndarray, second: np.ndarray, span: float) -> np.ndarray:
    """Return the SSIM of each window of two images at its centre, floating point (H, W).

    Args:
        first, second: floating point (H, W).
        span: range of intensities, which scales the constants.
    """

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.blur(image, (WINDOW, WINDOW))

    sample = WINDOW**2 / (WINDOW**2 - 1)
    mean_1, mean_2 = mean(first), mean(second)
    variances = sample * (mean(first * first) + mean(second * second) - mean_1**2 - mean_2**2)
    covariance = sample * (mean(first * second) - mean_1 * mean_2)
    least_1, least_2 = (K1 * span) ** 2, (K2 * span) ** 2
    level = (2 * mean_1 * mean_2 + least_1) / (mean_1**2 + mean_2**2 + least_1)
    return level * (2 * covariance + least_2) / (variances + least_2)


_DOWN, _RIGHT = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
