"""Undo flips, small rotations and shifts, and changes of contrast, so that exact SSIM can confirm a copy.

Not here: the encoder, which finds candidates without alignment (encoders/deepssim.py).
"""

from dataclasses import dataclass

import kornia.geometry.transform
import numpy as np
import torch

from deepssim.similarity.ssim import WINDOW, ssim_of_arrays

_COARSE = tuple(np.arange(-12.0, 12.1, 3.0))  # degrees, a little more than misalignment has
_FINE = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # degrees around the best coarse one
_SHIFTS = (-2, -1, 0, 1, 2)  # pixels of a 64 pixel side
_GAMMAS = (0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Aligned:
    """A synthetic image brought onto a real one: float32 (H, W), 0 to 1, and its SSIM."""

    image: np.ndarray
    ssim: float


def align(real: np.ndarray, synthetic: np.ndarray) -> Aligned:
    """Find the change of a synthetic image that makes it most similar to a real one.

    Searched in turn: flips with rotations in steps of three degrees, finer rotations, shifts, exponents of intensities.
    The result is never worse than the image as it is.

    Args:
        real, synthetic: float32 (H, W), 0 to 1, of one size and at least 7x7, not constant.
    """
    best = Aligned(synthetic, float(ssim_of_arrays(real[None], synthetic[None])[0, 0]))
    flips = [synthetic, synthetic[:, ::-1], synthetic[::-1], synthetic[::-1, ::-1]]
    best = _better(best, real, np.concatenate([_rotated(flip, _COARSE) for flip in flips] + [np.stack(flips)]))
    best = _better(best, real, _rotated(best.image, _FINE))
    unit = max(1, round(max(real.shape) / 64))
    best = _better(best, real, _shifted(best.image, [unit * shift for shift in _SHIFTS]))
    return _better(best, real, np.stack([best.image**gamma for gamma in _GAMMAS]))


def _better(best: Aligned, real: np.ndarray, candidates: np.ndarray) -> Aligned:
    usable = candidates[candidates.max(axis=(1, 2)) > candidates.min(axis=(1, 2))]
    if not len(usable) or min(real.shape) < WINDOW:
        return best
    scores = ssim_of_arrays(real[None], usable)[0]
    place = int(scores.argmax())
    return Aligned(usable[place], float(scores[place])) if scores[place] > best.ssim else best


def _rotated(image: np.ndarray, degrees: tuple[float, ...]) -> np.ndarray:
    copies = torch.from_numpy(np.ascontiguousarray(image))[None, None].repeat(len(degrees), 1, 1, 1)
    return kornia.geometry.transform.rotate(copies, torch.tensor(degrees, dtype=torch.float32))[:, 0].numpy()


def _shifted(image: np.ndarray, shifts: list[int]) -> np.ndarray:
    most = max(abs(shift) for shift in shifts)
    height, width = image.shape
    padded = np.pad(image, most)
    return np.stack([
        padded[most + down : most + down + height, most + right : most + right + width]
        for down in shifts for right in shifts
    ])  # fmt: skip
