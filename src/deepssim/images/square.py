"""Show pixels that are not square at their true aspect ratio.

Not here: the size of all images (standardize.py).
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

NOT_SQUARE = "pixels are not square: resampled to square pixels"
_TOLERANCE = 0.01  # spacings are often rounded; 1 % of 512 pixels is less than a pixel at the size of an audit
_MAX_RATIO = 32.0  # slices 16 mm apart with pixels of 0.5 mm; beyond, the spacing is a mistake
_MAX_SIDE = 4096  # pixels, unless the image is longer as it is stored


def is_square(spacing: Sequence[float]) -> bool:
    """Return whether pixels are square to within 1 %, or their spacing says nothing.

    Args:
        spacing: distance between rows and between columns, any unit.
    """
    rows, columns = (abs(float(side)) for side in spacing)
    if not (np.isfinite([rows, columns]).all() and rows > 0 and columns > 0):
        return True
    ratio = max(rows, columns) / min(rows, columns)
    return ratio <= 1 + _TOLERANCE or ratio > _MAX_RATIO


def squared_shape(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, int]:
    """Return the height and width of an image with square pixels of the finer of two spacings.

    Args:
        shape: height and width as stored.
        spacing: distance between rows and between columns, any unit.

    Returns:
        At least `shape` in both directions, except that no side exceeds 4096 or the longest side of `shape`.
    """
    rows, columns = (abs(float(side)) for side in spacing)
    finer = min(rows, columns)
    wanted = shape[0] * rows / finer, shape[1] * columns / finer
    scale = min(1.0, max(_MAX_SIDE, *shape) / max(wanted))
    return max(1, round(wanted[0] * scale)), max(1, round(wanted[1] * scale))


def make_square(image: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Resample an image to square pixels of the finer of two spacings, linearly.

    Args:
        image: float32, shape (H, W), 0 to 1.
        spacing: distance between rows and between columns, any unit.

    Returns:
        float32, 0 to 1; the image itself if its pixels are square.
    """
    if is_square(spacing):
        return image
    height, width = squared_shape((image.shape[0], image.shape[1]), spacing)
    # Pillow widens its bilinear filter where it reduces an image, which avoids aliasing.
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)
