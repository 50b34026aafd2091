"""Find the intensity window of a volume plane by plane, without a copy of its values.

Not here: the window of values in memory (standardize.py), cutting (volumes.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from deepssim.images.standardize import OFFSET

_BINS = 2**16
_PADDING = 0.05  # fraction of the outer faces that a lowest value fills exactly if it is padding
_GAP = 0.45  # of the range, between padding and all other values, beyond which padding would take the contrast
_MOST_PADDINGS = 3  # values, the lowest first


@dataclass(frozen=True)
class Window:
    """A linear map of values to [0, 1].

    Attributes:
        low: value that becomes 0.
        high: value that becomes 1; not above `low` if there is nothing to show.
        finite: whether all values are finite.
        black_zero: whether zero is background though there are negative values, and is shown black.
        empty: whether no value is finite.
    """

    low: float
    high: float
    finite: bool
    black_zero: bool
    empty: bool

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return float32 of the same shape, 0 to 1; background and values that are not finite are 0."""
        if not self.high > self.low:
            return np.zeros(values.shape, np.float32)
        shown = np.clip((values - self.low) / (self.high - self.low), 0, 1).astype(np.float32)
        if not self.finite:
            shown[~np.isfinite(values)] = 0
        if self.black_zero:
            shown[values == 0] = 0
        return shown


def find_window(
    planes: Callable[[], Iterable[np.ndarray]], faces: Callable[[], Iterable[np.ndarray]], percentiles: Sequence[float]
) -> Window:
    """Find the window of a volume: the result of `standardize.window`, in two passes and constant memory.

    Zero counts as background, and is shown black, also in a volume with negative values if more than half of its outer faces
    are exactly zero: interpolation leaves values below zero at the rim of a brain, and z-scores half of them. Padding far
    below all other values (-2048 or -32768 around the field of view of a CT) and an offset (30,000) are left out of the window:
    otherwise they would leave a few grey levels for everything else.

    Args:
        planes: returns all planes of the volume, float32, shape (H, W), in any order; called twice.
        faces: returns its outer planes, float32, shape (H, W), at least one.
        percentiles: lower and upper percentile of the non-zero finite values, 0 to 100.
    """
    upper = np.zeros(_BINS, np.int64)
    lowest, highest, finite, found = np.inf, -np.inf, True, False
    for plane in planes():
        known = np.isfinite(plane)
        if not known.all():
            finite, plane = False, plane[known]
        if plane.size:
            found = True
            lowest, highest = min(lowest, float(plane.min())), max(highest, float(plane.max()))
            upper += np.bincount(_ranks(plane[plane != 0]) >> 16, minlength=_BINS)
    count = int(upper.sum())
    if not count:
        return Window(0.0, 0.0, finite, False, not found)
    low, high = _percentiles(planes, upper, count, percentiles)
    outer = np.concatenate([face.ravel() for face in faces()])
    faces_size = outer.size
    outer = outer[np.isfinite(outer)]
    inner = _inner(planes, outer, percentiles) if outer.size and outer.min() == lowest else None
    if inner is not None:
        return Window(*inner, finite, False, False)
    black_zero = False
    if lowest >= 0:  # background of a non-negative scan stays exactly black
        low = low if high > low > OFFSET * high else np.float64(min(low, 0.0))
    elif highest > 0:
        black_zero = bool(np.count_nonzero(outer == 0) > faces_size / 2)
    return Window(low, high, finite, black_zero, False)


def _inner(
    planes: Callable[[], Iterable[np.ndarray]], outer: np.ndarray, percentiles: Sequence[float]
) -> tuple[np.float64, np.float64] | None:
    """Return the window of the values above padding, and above air within that if it is one value, too; None without padding."""
    found, rest = None, planes
    for _ in range(_MOST_PADDINGS):
        lowest = outer.min()
        inside = outer[outer > lowest]
        if lowest == 0 or outer.size - inside.size < _PADDING * outer.size:
            break
        rest = partial(_above, rest, lowest)
        upper, count = _counts(rest)
        if not count:
            break
        low, high = _percentiles(rest, upper, count, percentiles)
        if not (high > low and low - lowest > _GAP * (high - lowest)):
            break
        found, outer = (low, high), inside
        if not outer.size:
            break
    return found


def _above(planes: Callable[[], Iterable[np.ndarray]], value: np.float32) -> Iterable[np.ndarray]:
    """Yield planes in which all up to a value is zero, and so counts as background."""
    for plane in planes():
        yield np.where(plane <= value, np.float32(0), plane)


def _counts(planes: Callable[[], Iterable[np.ndarray]]) -> tuple[np.ndarray, int]:
    """Return the numbers of finite values that are not zero by their upper 16 bits, int64, and their sum."""
    upper = np.zeros(_BINS, np.int64)
    for plane in planes():
        upper += np.bincount(_ranks(plane[np.isfinite(plane) & (plane != 0)]) >> 16, minlength=_BINS)
    return upper, int(upper.sum())


def _percentiles(
    planes: Callable[[], Iterable[np.ndarray]], upper: np.ndarray, count: int, percentiles: Sequence[float]
) -> list[np.float64]:
    """Return percentiles with linear interpolation, as `numpy.percentile` does for float32, to the last bit."""
    places = (count - 1) * (np.asarray(percentiles, dtype=np.float64) / np.float32(100))
    before = np.floor(places).astype(np.int64)
    orders = np.unique(np.concatenate([before, np.minimum(before + 1, count - 1)]))
    ends = np.cumsum(upper)
    bins = np.searchsorted(ends, orders, side="right")
    lower = {int(number): np.zeros(_BINS, np.int64) for number in np.unique(bins)}
    for plane in planes():
        ranks = _ranks(plane[np.isfinite(plane) & (plane != 0)])
        top = ranks >> 16
        for number, counts in lower.items():
            counts += np.bincount(ranks[top == number] & (_BINS - 1), minlength=_BINS)
    values = {}
    for order, number in zip(orders, bins, strict=True):
        inside = order - (ends[number] - upper[number])
        last = int(np.searchsorted(np.cumsum(lower[int(number)]), inside, side="right"))
        values[int(order)] = _value(int(number) * _BINS + last)
    return [
        _interpolate(values[int(start)], values[int(min(start + 1, count - 1))], place - start)
        for start, place in zip(before, places, strict=True)
    ]


def _interpolate(low: np.float32, high: np.float32, part: np.float64) -> np.float64:
    distance = high - low  # float32, as in numpy
    return high - distance * (1 - part) if part >= 0.5 else low + distance * part


def _ranks(values: np.ndarray) -> np.ndarray:
    """Map float32 values to uint32 numbers of the same order."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))


def _value(rank: int) -> np.float32:
    bits = rank ^ 0x80000000 if rank >> 31 else rank ^ 0xFFFFFFFF
    return np.uint32(bits).view(np.float32)
