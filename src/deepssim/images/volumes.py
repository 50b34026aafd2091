"""Cut volumes into slices, the same way for every format and every reader.

Not here: reading volumes (nifti.py).
"""

from pathlib import Path

import numpy as np

from deepssim.config.choices import Axis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images.frames import Frame

NEARLY_EMPTY = "nearly empty slice"


def cut_slices(volume: np.ndarray, options: VolumesConfig, path: str | Path) -> list[Frame]:
    """Cut a volume into slices with anterior or superior up and the patient's right side on the right.

    Args:
        volume: float32 (X, Y, Z), 0 to 1, axes pointing right, anterior and superior. With Z = 1 it is one image, to which
            no option applies.
        options: axis and range of the slices, and the fraction of non-zero pixels below which a slice is left out.
        path: of the volume, for messages.

    Returns:
        The slices in ascending order; nearly empty ones are marked as left out.

    Raises:
        DataError: if the range is not within the volume.
    """
    if volume.shape[2] == 1:
        return [Frame("", _upright(volume[:, :, 0]))]
    slices = np.moveaxis(volume, list(Axis).index(options.axis), 0)
    last = len(slices) - 1 if options.last_slice is None else options.last_slice
    if not options.first_slice <= last < len(slices):
        raise DataError(
            f"{path}: slices {options.first_slice} to {last} are requested, but {options.axis.value} slices go from 0 to "
            f"{len(slices) - 1}; change dataset.volumes.first_slice and last_slice"
        )
    frames = []
    for index in range(options.first_slice, last + 1, options.step):
        pixels = _upright(slices[index])
        empty = np.count_nonzero(pixels) < options.min_foreground * pixels.size
        frames.append(Frame(f"{options.axis.value}-{index:03d}", pixels, index, NEARLY_EMPTY if empty else ""))
    return frames


def _upright(plane: np.ndarray) -> np.ndarray:
    """Map a plane (right or anterior, anterior or superior) to rows from top to bottom and columns from left to right."""
    return np.ascontiguousarray(plane.T[::-1])
