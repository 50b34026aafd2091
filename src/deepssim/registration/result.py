"""What every registration returns.

Not here: how it is found (search.py, register.py).
"""

from typing import NamedTuple

import numpy as np

FLIPS: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1))  # axes that each of the four flips reverses


class Registered(NamedTuple):
    """A moving image brought onto a fixed one.

    Attributes:
        image: float32 (H, W), 0 to 1.
        ssim: exact SSIM of both, the fixed one being the real image.
        flipped: axes that were reversed first, "rows", "columns" or "rows, columns"; empty for none.
    """

    image: np.ndarray
    ssim: float
    flipped: str = ""


def flip_name(axes: tuple[int, ...]) -> str:
    """Return the name of a flip, as in `Registered.flipped`."""
    return ", ".join(("rows", "columns")[axis] for axis in axes)
