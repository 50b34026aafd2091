"""Exact SSIM of every real image with every synthetic one.

The score is that of scikit-image's `structural_similarity` with its defaults, on z-scored images, with the range of the
real image as `data_range`. Means and variances of all windows are computed once per image; a pair then costs one pass
that keeps running sums of the products, instead of five filters.

Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861; arXiv:2509.16582 for z-score and range.
"""

import numpy as np
from numba import get_num_threads, njit, prange, set_num_threads
from scipy.ndimage import uniform_filter

from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore

WINDOW = 7  # pixels, side of the uniform window
_SAMPLE = WINDOW**2 / (WINDOW**2 - 1)  # covariances are those of a sample
_K1, _K2 = 0.01, 0.03


def ssim_matrix(real: ImagePack, synthetic: ImagePack, *, threads: int = 1) -> np.ndarray:
    """Compute SSIM of every real with every synthetic image.

    Args:
        real: R images of at least 7x7 pixels; their range scales the constants, so the score is not symmetric.
        synthetic: S images of the same size.
        threads: processor threads to use; the result does not depend on it.

    Returns:
        float32, shape (R, S), no unit, -1 to 1; [i, j] is real i against synthetic j.

    Raises:
        DataError: if sizes differ or are below 7x7, or an image is constant.
    """
    shape = real.images.shape[1:]
    if synthetic.images.shape[1:] != shape:
        raise DataError(
            f"real images are {_size(shape)} and synthetic ones {_size(synthetic.images.shape[1:])}; "
            "bring them to one size (dataset.image_size)"
        )
    if min(shape) < WINDOW:
        raise DataError(f"images of {_size(shape)} are smaller than SSIM's {WINDOW}x{WINDOW} window; use larger images")
    return ssim_of_arrays(zscore(real.images, real.keys), zscore(synthetic.images, synthetic.keys), threads=threads)


def ssim_of_arrays(real: np.ndarray, synthetic: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Do the same as `ssim_matrix` for z-scored images, float64 (R, H, W) and (S, H, W), at least 7x7."""
    before = get_num_threads()
    set_num_threads(max(1, min(threads, before)))
    try:
        return _all_pairs(real, synthetic, _window_moments(real), _window_moments(synthetic), np.ptp(real, axis=(1, 2)))
    finally:
        set_num_threads(before)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


def _window_moments(images: np.ndarray) -> np.ndarray:
    """Return mean and sample variance of every full window: float64 (N, 2, H - 6, W - 6)."""
    inner = slice(WINDOW // 2, -(WINDOW // 2))
    mean, squares = (
        uniform_filter(values, WINDOW, axes=(1, 2))[:, inner, inner] for values in (images, np.square(images))
    )
    return np.stack([mean, (squares - mean**2) * _SAMPLE], axis=1)


@njit(parallel=True, cache=True)
def _all_pairs(
    real: np.ndarray, synthetic: np.ndarray, real_moments: np.ndarray, synthetic_moments: np.ndarray, ranges: np.ndarray
) -> np.ndarray:
    scores = np.empty((len(real), len(synthetic)), np.float32)
    for column in prange(len(synthetic)):
        for row in range(len(real)):
            scores[row, column] = _pair(
                real[row], synthetic[column], real_moments[row], synthetic_moments[column], ranges[row]
            )
    return scores


@njit(cache=True)
def _pair(
    real: np.ndarray, synthetic: np.ndarray, real_moments: np.ndarray, synthetic_moments: np.ndarray, data_range: float
) -> float:
    """Mean SSIM over all full windows, which is the image cropped by 3 pixels.

    Sums are float64: a running sum in float32 drifts by more than the 1e-6 that scikit-image must be matched to.
    """
    height, width = real.shape
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    columns = np.zeros(width)  # sums of products over the 7 rows of the current window row
    for y in range(WINDOW - 1):
        for x in range(width):
            columns[x] += real[y, x] * synthetic[y, x]
    total = 0.0
    for y in range(height - WINDOW + 1):
        for x in range(width):
            columns[x] += real[y + WINDOW - 1, x] * synthetic[y + WINDOW - 1, x]
        products = 0.0
        for x in range(WINDOW - 1):
            products += columns[x]
        for x in range(width - WINDOW + 1):
            products += columns[x + WINDOW - 1]
            a, b = real_moments[0, y, x], synthetic_moments[0, y, x]
            covariance = (products / WINDOW**2 - a * b) * _SAMPLE
            total += ((2 * a * b + c1) * (2 * covariance + c2)) / (
                (a * a + b * b + c1) * (real_moments[1, y, x] + synthetic_moments[1, y, x] + c2)
            )
            products -= columns[x]
        for x in range(width):
            columns[x] -= real[y, x] * synthetic[y, x]
    return total / ((height - WINDOW + 1) * (width - WINDOW + 1))
