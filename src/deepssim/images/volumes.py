"""Cut volumes into slices, the same way for every format and every reader.

Not here: reading volumes (nifti.py, minc.py, nrrd.py, metaimage.py), their intensity window (intensity.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from deepssim.config.choices import Axis, FourthAxis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images.frames import MAX_VALUES, Contents, Facts, Frame
from deepssim.images.grey import MIXED, are_apart
from deepssim.images.intensity import Window, find_window
from deepssim.images.memory import Reservation
from deepssim.images.square import NOT_SQUARE, is_square, make_square, squared_shape

NEARLY_EMPTY = "nearly empty slice"
NOT_ORIENTED = "orientation is not recorded: slices may lie along another axis"
NOT_FINITE = "values that are not finite: shown as background"
MAGNITUDE = "complex values: shown as magnitude"
COLOUR = "colour: shown as luminance"
BLACK_ZERO = "background of a volume with negative values: shown black"
_PARTIAL = {
    FourthAxis.FIRST: "4D file: only the first volume is used",
    FourthAxis.MIDDLE: "4D file: only the middle volume is used",
    FourthAxis.MEAN: "4D file: volumes are averaged",
}
_AXES = (Axis.SAGITTAL, Axis.CORONAL, Axis.AXIAL)  # cut across x, y and z
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow does
_MAX_SQUARED = 4 * MAX_VALUES


@dataclass(frozen=True)
class Volume:
    """A volume as a file stores it; several, if the file has a fourth axis.

    Attributes:
        values: shape (X, Y, Z, N), of the stored type: real, complex, or colour as a structure with R, G and B. Axes point
            right, anterior and superior if the orientation is known, and are those of the file otherwise.
        spacing: distance of voxels along x, y and z, any unit.
        codes: orientation of the stored axes, for example `LPS`; empty if unknown.
        slope: factor of the stored values.
        intercept: added after that.
        memory: what `values` holds.
    """

    values: np.ndarray
    spacing: Sequence[float]
    codes: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    memory: Reservation | None = None

    def plane(self, number: int | None, axis: int, index: int) -> np.ndarray:
        """Return one plane in its unit, before windowing: float32, shape of the other two axes.

        Args:
            number: which volume; None for the mean of all.
            axis: across which it lies: 0, 1 or 2.
            index: of the plane along it.
        """
        stored = np.moveaxis(self.values, axis, 0)[index]
        if number is not None:
            return self._scaled(stored[..., number])
        total = np.zeros(stored.shape[:2], np.float64)
        for last in range(stored.shape[2]):
            total += self._scaled(stored[..., last])
        return (total / stored.shape[2]).astype(np.float32)

    def _scaled(self, stored: np.ndarray) -> np.ndarray:
        if stored.dtype.names:
            return sum(stored[name] * weight for name, weight in zip("RGB", _LUMINANCE, strict=True)).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            if (self.slope, self.intercept) != (1.0, 0.0):
                stored = stored * np.float64(self.slope) + self.intercept
            return (np.abs(stored) if stored.dtype.kind == "c" else stored).astype(np.float32)


def cut_volume(volume: Volume, options: VolumesConfig, *, percentiles: Sequence[float], path: str | Path) -> Contents:
    """Cut a volume into slices with anterior or superior up and the patient's right side on the right.

    Args:
        volume: one with a single plane across any axis is an image, to which axis and range do not apply.
        options: axis and range of the slices, volumes of a 4D file, square pixels, and the foreground that a slice needs: a
            fraction of that of the fullest slice, so that a volume of few bright vessels keeps its slices.
        percentiles: intensity window over each whole volume (see `window`); colour keeps its values.
        path: of the volume, for messages.

    Returns:
        The slices in ascending order, cut one by one while they are read; nearly empty ones are marked as left out.

    Raises:
        DataError: if the range is not within the volume, or no value is finite.
    """
    axes, plain = _axes(volume, options)
    ranges = {axis: range(1) if plain else _range(volume, axis, options, path) for axis in axes}
    numbers = numbers_of(volume, options)
    windows = [window_of(volume, number, percentiles, path) for number in numbers]
    squared = [axis for axis in axes if options.square_pixels and not is_square(_spacing(volume, axis))]
    _require_squared_room(volume, {axis: len(ranges[axis]) * len(numbers) for axis in squared}, path)
    stored = volume.values.dtype
    notices = {
        NOT_ORIENTED: not volume.codes and not plain,
        NOT_SQUARE: bool(squared),
        **value_notices(volume, windows),
    }
    found = [notice for notice, holds in notices.items() if holds]
    if volume.values.shape[3] > 1 and options.fourth_axis is not FourthAxis.ALL:
        found.append(_PARTIAL[options.fourth_axis])
    bits = 8 if stored.names else stored.itemsize * 8 if stored.kind in "iu" else None
    frames = _frames(volume, options, ranges, dict(zip(numbers, windows, strict=True)), plain)
    return Contents(frames, Facts(bits=bits, orientation=volume.codes, notices=tuple(found)))


def value_notices(volume: Volume, windows: Sequence[Window]) -> dict[str, bool]:
    """Return what was assumed about the values of a volume: notices, and whether each holds.

    Args:
        volume: as a file stores it.
        windows: of the volumes that are used.
    """
    return {
        NOT_FINITE: any(not window.finite for window in windows),
        BLACK_ZERO: any(window.black_zero for window in windows),
        MAGNITUDE: volume.values.dtype.kind == "c",
        COLOUR: bool(volume.values.dtype.names),
        MIXED: bool(volume.values.dtype.names) and are_apart(_middle_colours(volume)),
    }


def _middle_colours(volume: Volume) -> np.ndarray:
    """Return the colours of the middle plane of each volume, uint8 (X, Y * N, 3)."""
    stored = volume.values[:, :, volume.values.shape[2] // 2].reshape(volume.values.shape[0], -1)
    return np.stack([stored[name] for name in "RGB"], axis=2)


def _axes(volume: Volume, options: VolumesConfig) -> tuple[tuple[int, ...], bool]:
    """Return the axes across which to cut, and whether the volume is a single plane."""
    flat = [axis for axis in (2, 1, 0) if volume.values.shape[axis] == 1]
    if flat:
        return (flat[0],), True
    axis = options.axis if volume.codes else options.unoriented_axis or options.axis
    return ((2, 1, 0) if axis is Axis.ALL else (_AXES.index(axis),)), False


def _range(volume: Volume, axis: int, options: VolumesConfig, path: str | Path) -> range:
    count = volume.values.shape[axis]
    last = count - 1 if options.last_slice is None else options.last_slice
    if not options.first_slice <= last < count:
        raise DataError(
            f"{path}: slices {options.first_slice} to {last} are requested, but {_AXES[axis].value} slices go from 0 to "
            f"{count - 1}; change dataset.volumes.first_slice and last_slice"
        )
    return range(options.first_slice, last + 1, options.step)


def numbers_of(volume: Volume, options: VolumesConfig) -> list[int | None]:
    """Return which volumes of a fourth axis are used; None stands for the mean of all.

    Args:
        volume: as a file stores it.
        options: of which `fourth_axis` is used.
    """
    count = volume.values.shape[3]
    chosen: dict[FourthAxis, list[int | None]] = {
        FourthAxis.ALL: list(range(count)),
        FourthAxis.FIRST: [0],
        FourthAxis.MIDDLE: [count // 2],
        FourthAxis.MEAN: [None],
    }
    return [0] if count == 1 else chosen[options.fourth_axis]


def slowest_axis(volume: Volume) -> int:
    """Return the axis whose planes lie together in memory."""
    return int(np.argmax(np.abs(volume.values.strides[:3])))


def planes_of(volume: Volume, number: int | None) -> Iterator[np.ndarray]:
    """Yield all planes of a volume in its unit, float32 (H, W), across the axis along which they lie together in memory.

    Args:
        volume: as a file stores it.
        number: which of several; None for their mean.
    """
    axis = slowest_axis(volume)
    for index in range(volume.values.shape[axis]):
        yield volume.plane(number, axis, index)


def _faces(volume: Volume, number: int | None) -> Iterator[np.ndarray]:
    for axis in range(3):
        if volume.values.shape[axis] > 1:
            yield volume.plane(number, axis, 0)
            yield volume.plane(number, axis, -1)


def window_of(volume: Volume, number: int | None, percentiles: Sequence[float], path: str | Path) -> Window:
    """Return the intensity window of a whole volume; colour keeps its values.

    Args:
        volume: as a file stores it.
        number: which of several; None for their mean.
        percentiles: of the non-zero values.
        path: of the volume, for messages.

    Raises:
        DataError: if no value is finite.
    """
    window = find_window(partial(planes_of, volume, number), partial(_faces, volume, number), percentiles)
    if window.empty:
        raise DataError(f"{path}: has no finite value; replace it")
    return replace(window, low=0.0, high=255.0) if volume.values.dtype.names else window


def _foreground(volume: Volume, number: int | None, window: Window) -> list[np.ndarray]:
    """Return the foreground pixels of each slice across x, y and z; one pass over the volume."""
    counts = [np.zeros(side, np.int64) for side in volume.values.shape[:3]]
    slowest = slowest_axis(volume)
    first, second = (axis for axis in range(3) if axis != slowest)
    for index, plane in enumerate(planes_of(volume, number)):
        bright = window.apply(plane) > 0
        counts[slowest][index] = np.count_nonzero(bright)
        counts[first] += np.count_nonzero(bright, axis=1)
        counts[second] += np.count_nonzero(bright, axis=0)
    return counts


def _spacing(volume: Volume, axis: int) -> tuple[float, float]:
    """Return the distances between rows and between columns of the slices across an axis."""
    columns, rows = (side for number, side in enumerate(volume.spacing) if number != axis)
    return float(rows), float(columns)


def _require_squared_room(volume: Volume, slices: dict[int, int], path: str | Path) -> None:
    total = 0
    for axis, count in slices.items():
        columns, rows = (side for number, side in enumerate(volume.values.shape[:3]) if number != axis)
        height, width = squared_shape((rows, columns), _spacing(volume, axis))
        total += count * height * width
    if total > _MAX_SQUARED:
        raise DataError(
            f"{path}: has {total:,} pixels after resampling to square ones, more than {_MAX_SQUARED:,}; set "
            "dataset.volumes.square_pixels to false, or split it into several files"
        )


def _frames(
    volume: Volume,
    options: VolumesConfig,
    ranges: dict[int, range],
    windows: dict[int | None, Window],
    plain: bool,
) -> Iterator[Frame]:
    for order, (number, window) in enumerate(windows.items()):
        prefix = f"volume-{order if number is None else number:03d}" if len(windows) > 1 else ""
        counts = [] if plain or not options.min_foreground else _foreground(volume, number, window)
        for axis, indices in ranges.items():
            name = _AXES[axis].value
            least = max(1.0, options.min_foreground * counts[axis].max()) if counts else 0.0
            for index in indices:
                pixels = _upright(window.apply(volume.plane(number, axis, index)))
                if options.square_pixels:
                    pixels = make_square(pixels, _spacing(volume, axis))
                if plain:
                    yield Frame(prefix, pixels)
                    continue
                part = f"{prefix}-{name}-{index:03d}" if prefix else f"{name}-{index:03d}"
                yield Frame(part, pixels, index, NEARLY_EMPTY if counts and counts[axis][index] < least else "")
    if volume.memory is not None:
        volume.memory.release()


def _upright(plane: np.ndarray) -> np.ndarray:
    """Map a plane (right or anterior, anterior or superior) to rows from top to bottom and columns from left to right."""
    return np.ascontiguousarray(plane.T[::-1])
