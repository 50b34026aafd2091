"""Read the volumes of MINC files, version 1 (netCDF) and 2 (HDF5).

Not here: slicing them (volumes.py), other formats (nifti.py, nrrd.py, metaimage.py).
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import NotAnImage, readable
from deepssim.images.frames import require_room
from deepssim.images.memory import Reservation
from deepssim.images.stored import orient, require_bytes, require_image_shape
from deepssim.images.volumes import Volume
from deepssim.runtime.hdf5 import WithoutHeaps, dataset

MINC_SUFFIXES = (".mnc",)
_MAX_COMPRESSION = 1100  # deflate reaches 1032
_MINC2_DATA = tuple(f"minc-2.0/image/0/{name}" for name in ("image", "image-min", "image-max"))


def read_minc(path: str | Path) -> Volume:
    """Read a MINC file.

    Values have a range per slice, so they are scaled while they are read, to float32.

    Args:
        path: of the file.

    Returns:
        The volume with axes that point right, anterior and superior (RAS); times come last.

    Raises:
        NotAnImage: if the file holds no voxels.
        DataError: if it is damaged or too large.
    """
    path = Path(path)
    with readable(path, "MINC", "replace it"):
        with path.open("rb") as raw:
            is_hdf5 = raw.read(4) == b"\x89HDF"
        return _minc2(path) if is_hdf5 else _minc1(path)


def _minc1(path: Path) -> Volume:
    from nibabel.externals.netcdf import netcdf_file
    from nibabel.minc1 import Minc1File

    require_bytes(path.stat().st_size, path)
    memory = Reservation(2 * path.stat().st_size)  # the file, and what netCDF reads of it
    with netcdf_file(_Content(path.read_bytes()), "r", mmap=False) as file:
        volume = _volume(Minc1File(file), path)
    memory.release()
    return volume


class _Content(io.BytesIO):
    """A file in memory that refuses to be read again and again: a hostile header can name the same bytes many times."""

    _TIMES = 3

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._left = self._TIMES * len(content)

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, as long as not too many were read in all."""
        content = super().read(size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("its parts overlap")
        return content


def _minc2(path: Path) -> Volume:
    import h5py
    from nibabel.minc2 import Minc2File

    # Text of variable length would need heaps, which can keep the HDF5 library in an endless loop.
    with h5py.File(path, "r") as file:
        for name in _MINC2_DATA:
            dataset(file, name)
    with WithoutHeaps(str(path)) as content, h5py.File(content, "r") as file:
        return _volume(Minc2File(file), path)


def _volume(file: Any, path: Path) -> Volume:
    shape = tuple(int(side) for side in file.get_data_shape())
    require_image_shape(shape, path)
    require_room(shape, path)
    if len(shape) not in (3, 4):
        raise NotAnImage(f"{path}: has {len(shape)} axes, so it is not a volume")
    size = 4 * int(np.prod(shape))
    if size > 4 * _MAX_COMPRESSION * path.stat().st_size:
        raise ValueError(f"declares {size:,} bytes, far more than it can hold")
    memory = Reservation(size)
    values = np.empty(shape, np.float32)
    for index in range(shape[0]):
        values[index] = file.get_scaled_data((index,))
    affine = np.asarray(file.get_affine(), dtype=np.float64)
    if affine.shape != (4, 4):
        raise ValueError("does not have three axes in space")
    if len(shape) == 4:  # times, usually the first axis, of which the affine does not know
        times = next(number for number, name in enumerate(file._dim_names) if not name.endswith("space"))
        values = np.moveaxis(values, times, -1)
    return orient(values, affine, np.linalg.norm(affine[:3, :3], axis=0).tolist(), memory=memory)
