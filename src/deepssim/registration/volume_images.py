"""Volumes before and after registration: foreground, smoothing, local contrast, resampling, and similarity over the overlap.

Not here: registration (volume_proof.py), exact SSIM of volumes as they are (similarity/).
"""

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes, uniform_filter, zoom
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

from deepssim.runtime.compilation import compiled
from deepssim.similarity.ssim_constants import WINDOW

_LEAST_CONTRAST = 0.05  # of the intensity range; weaker structures are noise
_BACKGROUND = 0.5  # of Otsu's threshold, above which voxels are foreground: dark tissue belongs to it
_FINE, _MIDDLE = 1.0, 3.0  # voxels of 64: structures whose energies tell how sharp a volume is
_BLURS = (0.0, 0.6, 0.9, 1.2, 1.6, 2.0)  # voxels of 64
_LEAST_VOXELS = 500  # of an overlap, and of SSIM windows within it
_LEAST_WINDOW = 0.6  # fraction of an SSIM window that lies in the overlap


def smoothed(volume: np.ndarray, deviation: float) -> np.ndarray:
    """Return a volume smoothed by a Gaussian, float32, same shape.

    Args:
        volume: float32 (D, H, W).
        deviation: standard deviation in voxels; 0 returns the volume itself.
    """
    if not deviation:
        return volume
    planes = np.stack([cv2.GaussianBlur(plane, (0, 0), deviation, borderType=cv2.BORDER_REFLECT) for plane in volume])
    size = 2 * int(4 * deviation + 0.5) + 1
    along = cv2.getGaussianKernel(size, deviation, cv2.CV_32F)
    lines = planes.reshape(len(volume), -1)
    return cv2.sepFilter2D(
        lines, cv2.CV_32F, np.ones(1, np.float32), along, borderType=cv2.BORDER_REFLECT
    ).reshape(volume.shape)  # fmt: skip


def resized(volume: np.ndarray, side: int) -> np.ndarray:
    """Return a cubic volume with another number of voxels along each side, float32, smoothed before it is reduced."""
    factor = side / len(volume)
    if factor == 1:
        return volume
    if factor < 1:
        volume = smoothed(volume, 0.4 / factor)
    return zoom(volume, factor, order=1, mode="nearest", grid_mode=True)


def locally_normalised(volume: np.ndarray, neighbourhood: float) -> np.ndarray:
    """Return a volume of local mean 0 and local standard deviation about 1, so that structure counts and contrast does not.

    Args:
        volume: float32 (D, H, W), 0 to 1.
        neighbourhood: standard deviation in voxels of the Gaussian that is local.
    """
    centred = volume - smoothed(volume, neighbourhood)
    return centred / np.sqrt(smoothed(centred * centred, neighbourhood) + _LEAST_CONTRAST**2)


def foreground(volume: np.ndarray) -> np.ndarray:
    """Return where a volume is not background, bool (D, H, W), with holes filled; everywhere where nothing tells.

    Args:
        volume: float32 (D, H, W), 0 to 1, dark background.
    """
    smooth = smoothed(volume, 1.0)
    if np.ptp(smooth) < _LEAST_CONTRAST:
        return np.ones(volume.shape, bool)
    return binary_fill_holes(smooth > _BACKGROUND * threshold_otsu(smooth))


@compiled(nogil=True)
def _pull(
    volume: np.ndarray, matrix: np.ndarray, displacement: np.ndarray, moved: np.ndarray, covered: np.ndarray
) -> None:
    depth, height, width = volume.shape
    flowed = displacement.shape[1] > 0
    for z in range(moved.shape[0]):
        for y in range(moved.shape[1]):
            for x in range(moved.shape[2]):
                first, second, third = float(z), float(y), float(x)
                if flowed:
                    first += displacement[0, z, y, x]
                    second += displacement[1, z, y, x]
                    third += displacement[2, z, y, x]
                down = matrix[0, 0] * first + matrix[0, 1] * second + matrix[0, 2] * third + matrix[0, 3]
                along = matrix[1, 0] * first + matrix[1, 1] * second + matrix[1, 2] * third + matrix[1, 3]
                right = matrix[2, 0] * first + matrix[2, 1] * second + matrix[2, 2] * third + matrix[2, 3]
                inside = -0.01 <= down <= depth - 0.99 and -0.01 <= along <= height - 0.99
                covered[z, y, x] = inside and -0.01 <= right <= width - 0.99
                down = min(max(down, 0.0), depth - 1.0)
                along = min(max(along, 0.0), height - 1.0)
                right = min(max(right, 0.0), width - 1.0)
                a, b, c = min(int(down), depth - 2), min(int(along), height - 2), min(int(right), width - 2)
                u, v, w = down - a, along - b, right - c
                near = (volume[a, b, c] * (1 - w) + volume[a, b, c + 1] * w) * (1 - v)
                near += (volume[a, b + 1, c] * (1 - w) + volume[a, b + 1, c + 1] * w) * v
                far = (volume[a + 1, b, c] * (1 - w) + volume[a + 1, b, c + 1] * w) * (1 - v)
                far += (volume[a + 1, b + 1, c] * (1 - w) + volume[a + 1, b + 1, c + 1] * w) * v
                moved[z, y, x] = near * (1 - u) + far * u


def pulled(
    volume: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], displacement: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a volume moved by a map from the result's places to its own, float32, and where it has voxels, bool.

    Args:
        volume: float32 (d, h, w), at least two voxels along each side; beyond its border, that of the border is repeated.
        matrix: float64 (3, 4), voxels.
        shape: D, H and W of the result.
        displacement: float32 (3, D, H, W), added to the result's places first, in voxels.
    """
    moved, covered = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    shift = np.zeros((3, 0, 0, 0), np.float32) if displacement is None else displacement
    _pull(np.ascontiguousarray(volume), np.ascontiguousarray(matrix, np.float64), shift, moved, covered)
    return moved, covered


def equally_sharp(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth the sharper or noisier of two registered volumes until its fine structure is about as strong as the other's.

    Args:
        first, second: float32 (D, H, W), 0 to 1.
        mask: where both are compared.
    """
    energies = [_fineness(volume, mask) for volume in (first, second)]
    sharper, least = (first, energies[1]) if energies[0] > energies[1] else (second, energies[0])
    blurred = min(
        (smoothed(sharper, blur) for blur in _BLURS), key=lambda volume: abs(np.log(_fineness(volume, mask) / least))
    )
    return (blurred, second) if sharper is first else (first, blurred)


def _fineness(volume: np.ndarray, mask: np.ndarray) -> float:
    """Return the energy of fine structure, relative to that of coarser structure."""
    fine = smoothed(volume, _FINE)
    middle = fine - smoothed(volume, _MIDDLE)
    return (float(np.square(volume - fine)[mask].mean()) + 1e-8) / (float(np.square(middle)[mask].mean()) + 1e-6)


def correlation(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    """Return the normalized correlation of two volumes over a mask, -1 to 1; 0 where either is constant."""
    if int(mask.sum()) < _LEAST_VOXELS:
        return 0.0
    one, two = (values[mask].astype(np.float64) for values in (first, second))
    one, two = one - one.mean(), two - two.mean()
    lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / lengths if lengths > 1e-6 * len(one) else 0.0


def match_intensities(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a volume with the distribution of another one's intensities within a mask: gain and gamma are then equal.

    Args:
        source, target: float32 (D, H, W), 0 to 1.
        mask: where both have voxels.
    """
    levels = np.linspace(0, 1, 129)
    known, wanted = (np.quantile(values[mask], levels) for values in (source, target))
    return np.interp(source, known, wanted).astype(np.float32)


def overlap_ssim(real: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Return the mean SSIM over the overlap of two registered volumes, after the other one has got the real one's intensities.

    Args:
        real, other: float32 (D, H, W), 0 to 1.
        mask: bool, the overlap.

    Returns:
        -1 to 1; 0 where the overlap holds too few windows.

    Source: scikit-image's `structural_similarity` with its default window.
    """
    if int(mask.sum()) < _LEAST_VOXELS:
        return 0.0
    windows = (uniform_filter(mask.astype(np.float32), WINDOW) > _LEAST_WINDOW) & mask
    if int(windows.sum()) < _LEAST_VOXELS:
        return 0.0
    matched = match_intensities(other, real, mask)
    span = max(float(np.ptp(real[mask])), 2 * _LEAST_CONTRAST)
    _, values = structural_similarity(real, matched, win_size=WINDOW, data_range=span, full=True)
    return float(values[windows].mean())
