"""Result of a registration.

Not here: finding it (search.py, register.py).
"""

from typing import NamedTuple

import numpy as np

FLIPS: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1))  # reversed axes of the four possible flips


class Registered(NamedTuple):
    """A moving image registered to a fixed one.

    Attributes:
        image: registered image, float32 (H, W), 0 to 1.
        ssim: exact SSIM with the fixed image, which is taken as the real one.
        flipped: axes reversed before the motion: "rows", "columns", "rows, columns" or empty.
    """

    image: np.ndarray
    ssim: float
    flipped: str = ""


def flip_name(axes: tuple[int, ...]) -> str:
    """Return the name of a flip, as in `Registered.flipped`."""
    return ", ".join(("rows", "columns")[axis] for axis in axes)
