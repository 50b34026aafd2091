"""Turn the stored samples of pictures and arrays into grey values from 0 to 1.

Not here: the formats (rasters.py, tiff.py, arrays.py), the intensity window itself (standardize.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from deepssim.images.standardize import window

NOT_FINITE = "values that are not finite: treated as background"
COMPLEX = "complex values: shown as magnitude"
SEE_THROUGH = "transparent images: shown on black, or the transparency itself where the colour is constant"
MIXED = "colours that are not alike: mixed into one picture"
ALIKE = 0.95  # correlation of every two colours of a picture
_SAMPLE = 64  # rows and columns that tell whether colours are alike
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow does
_OVERSHOOT = 0.05  # by which samplers and interpolation leave the range of their values
_SAME_COLOUR = 2 / 255  # of the full range: what lossy compression makes of one colour


@dataclass(frozen=True)
class Extent:
    """What the numbers of a file span.

    Attributes:
        low: smallest finite value; 0 if there is none.
        high: largest finite value; 0 if there is none.
        finite: whether all values are.
    """

    low: float
    high: float
    finite: bool = True

    def __or__(self, other: "Extent") -> "Extent":
        """Return the extent of both."""
        return Extent(min(self.low, other.low), max(self.high, other.high), self.finite and other.finite)


def extent_of(values: np.ndarray) -> Extent:
    """Return the extent of real numbers of any shape and type."""
    low, high = (float(edge(values)) for edge in (np.min, np.max))
    if np.isfinite(low) and np.isfinite(high):  # NaN passes on to both
        return Extent(low, high)
    rest = values[np.isfinite(values)]
    return Extent(float(rest.min()), float(rest.max()), False) if rest.size else Extent(0, 0, False)


def natural_range(kind: np.dtype, extent: Extent) -> tuple[float, float] | None:
    """Return the values that stand for black and white, where type and values of a file tell them.

    Args:
        kind: type of the stored numbers.
        extent: of all images of the file: a dark image alone does not tell.

    Returns:
        (0, 1) for truth values, integers up to 1 and floating point from 0 to between 0.25 and 1; (-1, 1) for floating
        point within these that is not all small; (0, 255) for bytes and for values from 0 to between 128 and 255; (-128, 127)
        for signed bytes; each with an overshoot of 0.05 for floating point. None for all others, such as 12-bit scans,
        Hounsfield units and standardised values: they need an intensity window.
    """
    low, high = extent.low, extent.high
    if kind.kind in "bu" and high <= 1:
        return 0, 1
    if kind.kind in "ui" and kind.itemsize == 1:
        return (-128, 127) if low < 0 else (0, 255)
    if kind.kind in "ui":
        return (0, 1) if low >= 0 and high <= 1 else (0, 255) if low >= 0 and 128 <= high <= 255 else None
    if low >= -_OVERSHOOT and 0.25 <= high <= 1 + _OVERSHOOT:
        return 0, 1
    if -1 - _OVERSHOOT <= low < -_OVERSHOOT and high <= 1 + _OVERSHOOT and max(-low, high) > 0.5:
        return -1, 1
    return (0, 255) if low >= 0 and 128 <= high <= 255.5 else None


def describe(span: tuple[float, float] | None) -> str:
    """Return the notice for values between these; empty for bytes, which every viewer shows like that."""
    if span is None:
        return "values without a fixed range: windowed by percentiles, image by image"
    return "" if span == (0, 255) else f"values from {span[0]:g} to {span[1]:g}: mapped to black to white"


def unit(values: np.ndarray, span: tuple[float, float] | None, percentiles: Sequence[float]) -> np.ndarray:
    """Map the values of an image to 0 to 1.

    Args:
        values: shape (H, W), real numbers of any type; those that are not finite become 0.
        span: values of black and white (see `natural_range`); None for the intensity window of the image.
        percentiles: of that window, see `window`; `frames.AS_STORED` keeps the values as they are, whatever the range.

    Returns:
        float32, same shape, 0 to 1 unless as stored.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of values too large for float32, which count as not finite
        numbers = values.astype(np.float32)
        finite = np.isfinite(numbers) if values.dtype.kind == "f" else None
        if finite is not None and not finite.all():
            numbers = np.where(finite, numbers, np.float32(0))
        if not percentiles:
            return numbers
        if span is None:
            grey = np.nan_to_num(window(numbers, percentiles), nan=0)
        else:
            grey = np.clip((numbers - np.float32(span[0])) / np.float32(span[1] - span[0]), 0, 1)
    if finite is not None:
        grey[~finite] = 0
    return grey


def luminance(colour: np.ndarray) -> np.ndarray:
    """Return the luminance of RGB values (H, W, 3): uint8 for uint8, otherwise float32, in the same units."""
    if colour.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(colour)).convert("L"))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(colour.astype(np.float32) @ _LUMINANCE)


def are_apart(colours: np.ndarray) -> bool:
    """Return whether the colours of a picture differ as those of three pictures do, which luminance would mix.

    Args:
        colours: (H, W, 3), real numbers.

    Returns:
        True if two of them, of those that are not constant, correlate by less than 0.95.
    """
    steps = [max(1, side // _SAMPLE) for side in colours.shape[:2]]
    planes = colours[:: steps[0], :: steps[1], :3].reshape(-1, 3).T.astype(np.float64)
    planes = planes[:, np.isfinite(planes).all(axis=0)]
    with np.errstate(all="ignore"):  # of values near the limits of float64
        varied = planes[planes.std(axis=1) > 0] if planes.size else planes[:0]
        return len(varied) > 1 and bool(np.corrcoef(varied).min() < ALIKE)


def flatten(grey: np.ndarray, alpha: np.ndarray, full: float, *, premultiplied: bool = False) -> np.ndarray:
    """Show a transparent image such that its picture cannot vanish.

    It is laid on black, the background of medical images. Where the colour is constant, the picture is the transparency
    itself; where the transparency is constant, it says nothing and is ignored.

    Args:
        grey: (H, W), 0 to `full`.
        alpha: (H, W), 0 (transparent) to `full`.
        full: largest value of the type.
        premultiplied: whether `grey` has been multiplied with `alpha` already.

    Returns:
        float32 (H, W), 0 to `full`.
    """
    if alpha.size == 0 or alpha.min() == alpha.max():
        return grey.astype(np.float32)
    opacity = alpha.astype(np.float32) / np.float32(full)
    visible = grey[alpha > 0].astype(np.float32)
    if premultiplied:
        visible = visible / opacity[alpha > 0]
    if np.ptp(visible) <= _SAME_COLOUR * full:
        return alpha.astype(np.float32)
    return grey.astype(np.float32) * (np.float32(1) if premultiplied else opacity)
