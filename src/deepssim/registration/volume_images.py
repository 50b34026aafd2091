"""Volumes before and after registration: foreground, local contrast, sharpness, and similarity over the overlap.

Not here: registration (volume_proof.py), exact SSIM of volumes as they are (similarity/).
"""

import numpy as np
from scipy.ndimage import binary_fill_holes, uniform_filter

from deepssim.images.resample_volumes import smoothed
from deepssim.similarity.ssim_constants import WINDOW

_LEAST_CONTRAST = 0.05  # of the intensity range; weaker structures are noise
_BACKGROUND = 0.5  # of Otsu's threshold, above which voxels are foreground: dark tissue belongs to it
_FINE, _MIDDLE = 1.0, 3.0  # voxels of 64: structures whose energies tell how sharp a volume is
_BLURS = (0.0, 0.6, 0.9, 1.2, 1.6, 2.0)  # voxels of 64
_LEAST_VOXELS = 500  # of an overlap, and of SSIM windows within it
_ONE_LEVEL = 1 / 255  # of the intensity range; volumes that differ less are constant
_LEAST_WINDOW = 0.6  # fraction of an SSIM window that lies in the overlap


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
    from skimage.filters import threshold_otsu  # which audits of images do not need

    smooth = smoothed(volume, 1.0)
    if np.ptp(smooth) < _LEAST_CONTRAST:
        return np.ones(volume.shape, bool)
    return binary_fill_holes(smooth > _BACKGROUND * threshold_otsu(smooth))


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
        -1 to 1; 0 where the overlap holds too few windows, or either volume is constant within it: equal intensities would then
        make any two alike.

    Source: scikit-image's `structural_similarity` with its default window.
    """
    from skimage.metrics import structural_similarity

    if int(mask.sum()) < _LEAST_VOXELS:
        return 0.0
    windows = (uniform_filter(mask.astype(np.float32), WINDOW) > _LEAST_WINDOW) & mask
    if int(windows.sum()) < _LEAST_VOXELS:
        return 0.0
    if min(float(np.ptp(values[mask])) for values in (real, other)) < _ONE_LEVEL:
        return 0.0
    matched = match_intensities(other, real, mask)
    span = max(float(np.ptp(real[mask])), 2 * _LEAST_CONTRAST)
    _, values = structural_similarity(real, matched, win_size=WINDOW, data_range=span, full=True)
    return float(values[windows].mean())
