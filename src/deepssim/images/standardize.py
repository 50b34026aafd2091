"""Bring images to one size, bit depth and scale.

Not here: reading files (reading.py), random changes (augment.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from deepssim.errors import DataError

if TYPE_CHECKING:
    import torch


def window(values: np.ndarray, percentiles: Sequence[float]) -> np.ndarray:
    """Map an intensity window linearly to 0..1 and clip outside of it.

    Args:
        values: any shape, any unit, for example a whole volume.
        percentiles: lower and upper percentile, 0 to 100, of the non-zero values: the black background, which can be
            most of a scan, must not decide the window.

    Returns:
        float32, same shape, 0 to 1. All zero if the window has no width.
    """
    foreground = values[values != 0]
    if foreground.size == 0:
        return np.zeros(values.shape, np.float32)
    low, high = np.percentile(foreground, percentiles)
    low = min(low, 0.0) if values.min() >= 0 else low  # background of a non-negative scan stays exactly black
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def fit(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Pad an image with black to the aspect ratio of `size` and resize it, without distorting it.

    Args:
        image: float32, shape (H, W), 0 to 1.
        size: height and width to reach.

    Returns:
        float32, shape `size`, 0 to 1; the same pixels if the image has that size already.
    """
    height, width = size
    rows, columns = image.shape
    if (rows, columns) == (height, width):
        return image
    scale = min(height / rows, width / columns)
    full = max(rows, round(height / scale)), max(columns, round(width / scale))
    top, left = (full[0] - rows) // 2, (full[1] - columns) // 2
    padded = np.zeros(full, np.float32)
    padded[top : top + rows, left : left + columns] = image
    # Pillow's bilinear filter widens with the reduction, so it does not alias.
    resized = Image.fromarray(padded).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


def quantise(image: np.ndarray, bit_depth: int) -> np.ndarray:
    """Round an image of 0 to 1 to uint8 or uint16 over the full range of the type."""
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if bit_depth == 8 else np.uint16
    return np.rint(np.clip(image, 0, 1).astype(np.float64) * np.iinfo(kind).max).astype(kind)


def stretch(images: np.ndarray) -> np.ndarray:
    """Map each image's own minimum and maximum to 0 and 1 (the paper's intensity mapping of generated images).

    Args:
        images: floating point, shape (N, H, W), any range.

    Returns:
        float32, same shape; a constant image becomes zero.
    """
    low = images.min(axis=(1, 2), keepdims=True)
    span = images.max(axis=(1, 2), keepdims=True) - low
    return ((images - low) / np.where(span > 0, span, 1)).astype(np.float32)


def zscore(images: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Give each image mean 0 and population standard deviation 1.

    Args:
        images: shape (N, H, W), any numeric type.
        keys: N keys, to name the offender.

    Returns:
        float64, same shape.

    Raises:
        DataError: if an image is constant or not finite; it has no z-score.

    Source: input of DeepSSIM and SSIM in arXiv:2509.16582.
    """
    require_zscore(images, lambda row: keys[row])
    values = images.astype(np.float64)
    return (values - values.mean(axis=(1, 2), keepdims=True)) / values.std(axis=(1, 2), keepdims=True)


def require_zscore(images: np.ndarray, name: Callable[[int], str]) -> None:
    """Raise a DataError if an image of (N, H, W) is constant or not finite; `name` gives the key of an offender."""
    low, high = (edge(images, axis=(1, 2)) for edge in (np.min, np.max))
    unusable = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high) & (high > low)))  # NaN passes on to both
    if unusable.size:
        raise DataError(
            f"{unusable.size} of {len(images)} images are constant or not finite and have no z-score, "
            f"first {name(int(unusable[0]))!r}; remove them"
        )


def zscore_batch(images: torch.Tensor) -> torch.Tensor:
    """Do the same as `zscore` on a device, for images of shape (N, 1, H, W), floating point.

    A constant image, which augmentation may produce from a nearly empty one, becomes zero instead of raising: the
    images themselves were checked when they were read.
    """
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = images.std(dim=(1, 2, 3), keepdim=True, correction=0)
    return (images - mean) / deviation.clamp_min(1e-6)
