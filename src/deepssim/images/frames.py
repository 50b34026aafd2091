"""One decoded image of a file, and the limits that the reader of every format keeps.

Not here: the formats (rasters.py, arrays.py, nifti.py, dicom.py), which of them reads a file (files.py).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepssim.errors import DataError

MAX_VALUES = 2**28  # of all images of a file: twice a whole-body CT, and 1 GB as float32


# How the reason begins why a part of a file is left out that may hold images: the audit makes it a reservation. What
# certainly is more than a table, but cannot be read, counts as a file that cannot be read.
MAY_HOLD_IMAGES = "may hold images, but "
NOT_READ = "not read: "
# Percentiles that ask for values in the unit of the file instead of an intensity window: planes of one volume share a window.
AS_STORED: tuple[float, ...] = ()


@dataclass(frozen=True)
class Frame:
    """One image of a file.

    Attributes:
        part: which one, for example `axial-012` or `frame-003`; empty if the file holds a single image.
        pixels: float32 (H, W), 0 to 1; (0, 0) if the image is left out without being decoded.
        slice_index: voxel index along the sliced axis of a volume, from 0; None for other images.
        left_out: why the image is not used, for example `nearly empty slice`; empty if it is.
        volume: which volume of the file the image would be a plane of, if the file holds volumes.
    """

    part: str
    pixels: np.ndarray
    slice_index: int | None = None
    left_out: str = ""
    volume: int = 0


@dataclass(frozen=True)
class Facts:
    """How a file stores its images, as far as its format says.

    Attributes:
        bits: significant bits of a stored value; None for floating point, or if the format does not say.
        orientation: codes of a volume's stored axes, for example `RAS`; empty if unknown.
        modality: DICOM's code, for example `MR`; empty if unknown.
        notices: what the reader changed or assumed, one phrase each, the same words in all files concerned, so that they can
            be counted: for example `voxels are not square: resampled to square pixels`.
        volumes: whether the images are certainly planes of volumes, such as those of an array (N, D, H, W); they may be in any
            case.
    """

    bits: int | None = None
    orientation: str = ""
    modality: str = ""
    notices: tuple[str, ...] = ()
    volumes: bool = False


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        frames: all its images, in order; possibly an iterator, which decodes them one by one and can raise DataError.
        facts: how they are stored.
    """

    frames: Iterable[Frame]
    facts: Facts = field(default_factory=Facts)


def name_frames(images: Sequence[np.ndarray]) -> list[Frame]:
    """Return the images of a file in their order: `frame-000`, `frame-001`, ..., or without a name if there is only one."""
    if len(images) == 1:
        return [Frame("", images[0])]
    return [Frame(f"frame-{index:03d}", pixels) for index, pixels in enumerate(images)]


def require_room(shape: Sequence[int], path: str | Path) -> None:
    """Raise a DataError if a header declares more values than a medical image has; call it before decoding."""
    values = math.prod(int(side) for side in shape)
    if values > MAX_VALUES:
        raise DataError(
            f"{path}: declares {values:,} pixels or voxels, more than {MAX_VALUES:,}; split it into several files"
        )


def require_finite(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Return the values unchanged.

    Raises:
        DataError: if any is NaN or infinite.
    """
    finite = np.isfinite(values)
    if not finite.all():
        raise DataError(f"{path}: has {np.count_nonzero(~finite)} values that are not finite; replace it")
    return values
