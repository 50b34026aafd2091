"""Whether synthetic images are so much noisier, or so much more blurred, than training images that copies go unseen.

Noise and blur alone hide no copy. In images that were also turned, shifted or cropped they leave neither keypoints nor a coarse
pattern to find the original by: of chest X-rays and MR slices turned by 7 degrees, with noise or blur of the strengths below,
fewer than half of the copies were found. What an image has of each is a number, and from which number on copies go
unseen is read off training images to which that much was added.

Not here: the other differences between the sides of an audit (comparability.py).
"""

from collections.abc import Callable

import cv2
import numpy as np

from deepssim.images.folders import Collection
from deepssim.images.on_disk import blocks

NOISY, BLURRED = "synthetic images are noisy", "synthetic images are blurred"
_SIDE = 128  # pixels at which keypoints are found, and noise and blur are measured
_NOISE = 0.08  # standard deviation of noise, in the range of an image, from which moved copies were missed
_BLUR = 1.5  # standard deviation of a Gaussian filter, in pixels, from which moved copies were missed
_COARSE = 2.0  # pixels, the same, of the scale that sharpness is compared with
_FEW = 0.01  # fraction of synthetic images that may be so
_EXAMPLES = 200  # training images, at most, to which noise or blur is added
_SECOND_DIFFERENCES = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_RANGE = (1, 99)  # percentiles of an image, between which its range lies
_TINY = 1e-6


def noise(image: np.ndarray) -> float:
    """Return the standard deviation of an image's noise, as a fraction of that of the image.

    Edges count as noise, too, but little: 0.02 in chest X-rays of 128 pixels, 0.07 in slices of MR scans.

    Args:
        image: float32 (H, W).

    Source: Immerkaer 1996, doi:10.1006/cviu.1996.0060.
    """
    differences = cv2.filter2D(image, -1, _SECOND_DIFFERENCES)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(differences).mean() / max(image.std(), _TINY))


def blur(image: np.ndarray) -> float:
    """Return the part of an image's squared gradient that is left when details of 2 pixels are smoothed away, 0 to 1.

    Args:
        image: float32 (H, W).
    """
    return _gradient(cv2.GaussianBlur(image, (0, 0), _COARSE)) / max(_gradient(image), _TINY)


def hidden_by_appearance(real: Collection, synthetic: Collection) -> list[tuple[str, str]]:
    """Name synthetic images that are so noisy or so blurred that moved copies among them go unseen.

    Args:
        real, synthetic: images (N, H, W), of any size.

    Returns:
        Kind and one sentence for each of the two that more than 1 % of the synthetic images are, and more than twice as many as of
        the training images.
    """
    count = len(real.pack.images)
    random = np.random.default_rng(0)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _EXAMPLES)).astype(np.int64))
    examples = [_reduced(real.pack.images[row]) for row in chosen]
    found = []
    for kind, measure, change, verbs in (
        (NOISY, noise, lambda image: _with_noise(image, random), ("has far more noise", "have far more noise")),
        (
            BLURRED,
            blur,
            lambda image: cv2.GaussianBlur(image, (0, 0), _BLUR),
            ("is far more blurred", "are far more blurred"),
        ),
    ):
        limit = float(np.median([measure(change(image)) for image in examples]))
        parts = [_measured(side, measure) >= limit for side in (real, synthetic)]
        if parts[1].mean() > max(_FEW, 2 * parts[0].mean()):
            number = int(parts[1].sum())
            message = (
                f"{number:,} of {len(parts[1]):,} synthetic images {verbs[number != 1]} than training images; copies among those that are "
                "also turned, shifted or cropped can go unseen: compare images as sharp and as free of noise as the training images"
            )
            found.append((kind, message))
    return found


def _measured(side: Collection, measure: Callable[[np.ndarray], float]) -> np.ndarray:
    """Measure all images of a side, float64 (N,)."""
    return np.array([measure(_reduced(image)) for part in blocks(side.pack.images) for image in part])


def _reduced(image: np.ndarray) -> np.ndarray:
    """Return an image of at most 128 pixels a side, float32 (H, W)."""
    size = (min(image.shape[1], _SIDE), min(image.shape[0], _SIDE))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def _with_noise(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    low, high = np.percentile(image, _RANGE)
    noisy = image + random.normal(scale=_NOISE * (high - low), size=image.shape).astype(np.float32)
    return np.clip(noisy, image.min(), image.max())  # as files do, which leaves half of the noise of a black background


def _gradient(image: np.ndarray) -> float:
    inside = (slice(2, -2), slice(2, -2))  # borders are made up by the filters
    return float(np.mean([np.square(cv2.Scharr(image, -1, *axis)[inside]).mean() for axis in ((1, 0), (0, 1))]))
