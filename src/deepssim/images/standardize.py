"""Bring images to one size, bit depth and scale.

Not here: reading files (files.py), random changes (augment.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from deepssim.config.choices import Orientation
from deepssim.errors import DataError

if TYPE_CHECKING:
    import torch


OFFSET = 0.8  # of the upper end of a window, between zero and all values, as of signed numbers stored as unsigned ones


def window(values: np.ndarray, percentiles: Sequence[float]) -> np.ndarray:
    """Map an intensity window linearly to [0, 1] and clip values outside it.

    Args:
        values: any shape, any unit, for example a whole volume.
        percentiles: lower and upper percentile of the non-zero values, 0 to 100: the window must not depend on the size of
            the black background.

    Returns:
        float32, same shape, 0 to 1; all zero if the window has no width.
    """
    foreground = values[values != 0]
    if foreground.size == 0:
        return np.zeros(values.shape, np.float32)
    low, high = np.percentile(foreground, percentiles)
    # Background of a non-negative scan stays exactly black, unless all values have an offset that would leave few grey levels.
    low = min(low, 0.0) if values.min() >= 0 and not high > low > OFFSET * high else low
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def oriented(images: np.ndarray, orientation: Orientation) -> np.ndarray:
    """Bring upright images to an orientation, or images of that orientation back upright: transposing undoes itself.

    Args:
        images: shape (..., H, W), any type.
        orientation: wanted or present one.

    Returns:
        Same type: the array itself if upright, else a contiguous one of shape (..., W, H).
    """
    return images if orientation is Orientation.UPRIGHT else np.ascontiguousarray(np.swapaxes(images, -2, -1))


class Geometry(StrEnum):
    """What is done about an image of another aspect ratio."""

    PAD = "padded with black"
    SQUASH = "squashed"
    CROP = "cropped"


def fit(image: np.ndarray, size: Sequence[int], geometry: Geometry = Geometry.PAD) -> np.ndarray:
    """Bring an image to the aspect ratio of `size` and resize it.

    Args:
        image: float32, shape (H, W), 0 to 1.
        size: new height and width in pixels.
        geometry: pad with black on both sides, cut off both sides, or keep the image whole and let resizing squash it.

    Returns:
        float32, shape `size`, 0 to 1; the image itself if it already has that size.
    """
    height, width = size
    if geometry is Geometry.CROP:
        rows, columns = image.shape
        scale = max(height / rows, width / columns)
        kept = min(rows, max(round(height / scale), 1)), min(columns, max(round(width / scale), 1))
        top, left = (rows - kept[0]) // 2, (columns - kept[1]) // 2
        image = image[top : top + kept[0], left : left + kept[1]]
    rows, columns = image.shape
    if (rows, columns) == (height, width):
        return image
    if geometry is Geometry.SQUASH:
        height, width = rows, columns  # nothing to pad
    scale = min(height / rows, width / columns)
    full = max(rows, round(height / scale)), max(columns, round(width / scale))
    top, left = (full[0] - rows) // 2, (full[1] - columns) // 2
    padded = np.zeros(full, np.float32)
    padded[top : top + rows, left : left + columns] = image
    # Pillow widens its bilinear filter when it reduces an image, which avoids aliasing.
    resized = Image.fromarray(padded).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image at another size, averaged over areas where it shrinks.

    Args:
        image: uint8 or uint16, shape (H, W).
        height, width: in pixels.

    Returns:
        Same dtype, shape (height, width).
    """
    if image.shape == (height, width):
        return image
    import cv2  # not needed to read images

    shrinks = height * width < image.size
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def quantise(image: np.ndarray, bit_depth: int) -> np.ndarray:
    """Convert an image to integers over the full range of the type.

    Args:
        image: floating point, any shape, clipped to 0 to 1.
        bit_depth: 8 or 16.

    Returns:
        uint8 or uint16, same shape.
    """
    kind: type[np.uint8] | type[np.uint16] = np.uint8 if bit_depth == 8 else np.uint16
    return np.rint(np.clip(image, 0, 1).astype(np.float64) * np.iinfo(kind).max).astype(kind)


def stretch(images: np.ndarray) -> np.ndarray:
    """Map each image's minimum and maximum to 0 and 1.

    Args:
        images: floating point, shape (N, H, W) or (N, D, H, W), any range.

    Returns:
        float32, same shape; a constant image becomes zero.

    Source: arXiv:2509.16582, generated images.
    """
    axes = tuple(range(1, images.ndim))
    low = images.min(axis=axes, keepdims=True)
    span = images.max(axis=axes, keepdims=True) - low
    return ((images - low) / np.where(span > 0, span, 1)).astype(np.float32)


def zscore(images: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Standardise each image to mean 0 and population standard deviation 1.

    Args:
        images: shape (N, H, W), any numeric type.
        keys: N keys, for messages.

    Returns:
        float64, same shape.

    Raises:
        DataError: if an image is constant or not finite and has no z-score.

    Source: input of DeepSSIM and SSIM in arXiv:2509.16582.
    """
    require_zscore(images, lambda row: keys[row])
    values = images.astype(np.float64)
    return (values - values.mean(axis=(1, 2), keepdims=True)) / values.std(axis=(1, 2), keepdims=True)


def require_zscore(images: np.ndarray, name: Callable[[int], str]) -> None:
    """Check that every image has a z-score.

    Args:
        images: shape (N, H, W) or (N, D, H, W), any numeric type.
        name: function that returns the key of a row, for messages.

    Raises:
        DataError: if an image is constant or not finite.
    """
    low, high = (edge(images, axis=tuple(range(1, images.ndim))) for edge in (np.min, np.max))
    unusable = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high) & (high > low)))  # NaN passes on to both
    if unusable.size:
        raise DataError(
            f"{unusable.size} of {len(images)} images are constant or not finite and have no z-score, "
            f"first {name(int(unusable[0]))!r}; remove them"
        )


def zscore_batch(images: torch.Tensor) -> torch.Tensor:
    """Standardise each image to mean 0 and population standard deviation 1, on any device.

    A constant image becomes zero instead of raising an error: augmentation can make one from a nearly empty image.

    Args:
        images: floating point, shape (N, 1, H, W).

    Returns:
        Same shape and dtype.
    """
    deviations = images - images.mean(dim=(1, 2, 3), keepdim=True)
    # Two passes are as exact as `Tensor.std`, which takes ten times as long on a processor.
    scale = deviations.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return deviations / scale.clamp_min(1e-6)
