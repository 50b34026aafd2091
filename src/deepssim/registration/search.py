"""Undo flips, small rotations and shifts, and changes of contrast, so that exact SSIM can confirm a copy.

Not here: the encoder, which finds candidates without registration (encoders/deepssim.py).
"""

from functools import lru_cache

import numpy as np

from deepssim.registration.result import FLIPS, Registered, flip_name
from deepssim.similarity.ssim import ssim_of_arrays
from deepssim.similarity.ssim_constants import WINDOW

_COARSE = tuple(np.arange(-12.0, 12.1, 3.0))  # degrees, slightly more than the range of the misaligned copies
_FINE = (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)  # degrees around the best coarse angle
_SHIFTS = (-2, -1, 0, 1, 2)  # pixels at an image side of 64
_GAMMAS = (0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0)


def align(real: np.ndarray, synthetic: np.ndarray) -> Registered:
    """Find the transform of a synthetic image that makes it most similar to a real one.

    Searched in turn: flips with rotations in steps of three degrees, shifts, finer rotations, shifts again, and gamma
    values. The SSIM is never lower than that of the unchanged image.

    Args:
        real, synthetic: float32 (H, W), 0 to 1, of the same size and at least 7x7, not constant.
    """
    best = Registered(synthetic, float(ssim_of_arrays(real[None], synthetic[None])[0, 0]))
    for axes in FLIPS:
        flipped = np.flip(synthetic, axes) if axes else synthetic
        best = _better(best, real, np.concatenate([_rotated(flipped, _COARSE), flipped[None]]), flip_name(axes))
    unit = max(1, round(max(real.shape) / 64))
    shifts = [unit * shift for shift in _SHIFTS]
    best = _better(best, real, _shifted(best.image, shifts))
    best = _better(best, real, _rotated(best.image, _FINE))
    best = _better(best, real, _shifted(best.image, shifts))
    return _better(best, real, np.stack([best.image**gamma for gamma in _GAMMAS]))


def _better(best: Registered, real: np.ndarray, candidates: np.ndarray, flipped: str | None = None) -> Registered:
    """Return the candidate of highest SSIM, or `best` if none exceeds it; all candidates have the same flip."""
    usable = candidates[candidates.max(axis=(1, 2)) > candidates.min(axis=(1, 2))]
    if not len(usable) or min(real.shape) < WINDOW:
        return best
    scores = ssim_of_arrays(real[None], usable)[0]
    place = int(scores.argmax())
    if scores[place] <= best.ssim:
        return best
    return Registered(usable[place], float(scores[place]), best.flipped if flipped is None else flipped)


def _rotated(image: np.ndarray, degrees: tuple[float, ...]) -> np.ndarray:
    """Return a rotated copy for each angle: bilinear interpolation, black outside of the image."""
    places, weights = _sampling(image.shape, degrees)
    # Indices outside of the image point to one extra, black pixel.
    pixels = np.append(image.ravel(), np.float32(0))
    return (pixels[places] * weights).sum(axis=1).reshape(len(degrees), *image.shape)


@lru_cache(maxsize=16)
def _sampling(shape: tuple[int, int], degrees: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return indices and weights of the four source pixels of every rotated pixel: int64 and float32 (A, 4, H * W)."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width].reshape(2, 1, -1) - np.array([[[(height - 1) / 2]], [[(width - 1) / 2]]])
    angles = np.deg2rad(np.asarray(degrees))[:, None]
    y = np.cos(angles) * rows + np.sin(angles) * columns + (height - 1) / 2
    x = -np.sin(angles) * rows + np.cos(angles) * columns + (width - 1) / 2
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down, right = y - top, x - left
    places, weights = [], []
    for row, column, weight in (
        (top, left, (1 - down) * (1 - right)), (top, left + 1, (1 - down) * right),
        (top + 1, left, down * (1 - right)), (top + 1, left + 1, down * right),
    ):  # fmt: skip
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        places.append(np.where(inside, row * width + column, height * width))
        weights.append(weight.astype(np.float32))
    return np.stack(places, axis=1), np.stack(weights, axis=1)


def _shifted(image: np.ndarray, shifts: list[int]) -> np.ndarray:
    most = max(abs(shift) for shift in shifts)
    height, width = image.shape
    padded = np.pad(image, most)
    return np.stack([
        padded[most + down : most + down + height, most + right : most + right + width]
        for down in shifts for right in shifts
    ])  # fmt: skip
