"""Images that stay in HDF5 files and are read when they are indexed, so that memory does not grow with their number.

Other rows of numbers, such as embeddings, can be kept in the same way.

Not here: image packs, which have keys as well (packs.py), what an audit keeps (audit/pixels.py, audit/kept_rows.py).
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import readable
from deepssim.runtime.hdf5 import dataset, open_hdf5

_BLOCK = 2**24  # bytes of images that are read together when all are gone through
_MULTIPLE = 256  # images in one batch of an encoder and eight tasks of a search, which blocks of images shall not cut


class ImageFiles:
    """One dataset of several HDF5 files each, one after the other; one file is open at a time.

    Args:
        name: of the dataset.
    """

    def __init__(self, name: str = "images") -> None:
        self._name = name
        self._paths: list[Path] = []
        self._starts = [0]
        self.shape: tuple[int, ...] = ()  # of one image
        self.dtype: Any = np.dtype(np.uint8)
        self._lock, self._open, self._file = threading.Lock(), -1, ExitStack()

    def add(self, path: str | Path, images: Any) -> range:
        """Append a file and return the rows of its images.

        Args:
            path: HDF5 file.
            images: its dataset, of which shape and type are used.

        Raises:
            ValueError: if its images differ in shape or type from those of other files.
        """
        kind = (tuple(images.shape[1:]), np.dtype(images.dtype))
        if self._paths and kind != (self.shape, self.dtype):
            raise ValueError(
                f"{path}: expected {self.dtype} {self._name} of shape {self.shape}, got {kind[1]} of {kind[0]}"
            )
        self.shape, self.dtype = kind
        self._paths.append(Path(path))
        self._starts.append(self._starts[-1] + len(images))
        return range(self._starts[-2], self._starts[-1])

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return images by row, int64 (n,), in any order."""
        images = np.empty((len(rows), *self.shape), self.dtype)
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        with self._lock:
            for part in np.unique(parts):
                places = np.flatnonzero(parts == part)
                inside, back = np.unique(rows[places] - self._starts[part], return_inverse=True)
                with readable(self._paths[part], self._name):
                    images[places] = _runs(self._images(int(part)), inside)[back]
        return images

    def _images(self, part: int) -> Any:
        if part != self._open:
            self.close()
            file = self._file.enter_context(open_hdf5(self._paths[part], needs=(self._name,)))
            self._open, self._now = part, dataset(file, self._name)
        return self._now

    def close(self) -> None:
        """Close the file that was read last."""
        self._open = -1
        self._file.close()


class StoredImages(np.lib.mixins.NDArrayOperatorsMixin):
    """Some images of files, indexed as an array is; operators read all of them.

    Args:
        files: that hold them.
        rows: of them; images may repeat.
    """

    __slots__ = ("_files", "_rows")  # there is one for each of a million files

    def __init__(self, files: ImageFiles, rows: range | np.ndarray) -> None:
        self._files, self._rows = files, rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images, and the shape of one."""
        return (len(self._rows), *self._files.shape)

    @property
    def ndim(self) -> int:
        """Number of axes, that of the images included."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Type of the pixels."""
        return self._files.dtype

    @property
    def nbytes(self) -> int:
        """Memory of the pixels, which stay in the files."""
        return 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return images as an array would, of an integer, a slice, or integers in any order; none of them negative."""
        chosen = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else _integers(rows)
        images = self._files.read(self._rows_of(np.atleast_1d(chosen)))
        return images if np.ndim(chosen) else images[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return chain.from_iterable(blocks(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = [np.asarray(item) if isinstance(item, StoredImages) else item for item in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def take(self, rows: Any, axis: int = 0) -> "StoredImages":
        """Return some of the images without reading them; arguments as of `numpy.take`."""
        if axis:
            raise ValueError(f"images are taken along axis 0, not {axis}")
        return StoredImages(self._files, self._rows_of(_integers(rows)))

    def _rows_of(self, chosen: np.ndarray) -> np.ndarray:
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < len(self):
            raise IndexError(f"images {chosen.min()} to {chosen.max()} of {len(self)} were asked for")
        if isinstance(self._rows, range):
            return self._rows.start + self._rows.step * chosen
        return self._rows[chosen]

    @staticmethod
    def joined(parts: Sequence["StoredImages"]) -> "StoredImages":
        """Return the images of several parts of the same files, one after the other, without reading them."""
        files = parts[0]._files
        if any(part._files is not files for part in parts):
            raise ValueError("images of other files cannot be joined unread")
        count = sum(map(len, parts))
        return StoredImages(files, np.fromiter(chain.from_iterable(part._rows for part in parts), np.int64, count))


def _integers(rows: Any) -> np.ndarray:
    """Return rows as int64; a mask would name the first two images instead of those where it is true."""
    given = np.asarray(rows)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"images are indexed by integers or a slice, not by {given.dtype}")
    return given.astype(np.int64)


def joined(parts: Sequence[Any]) -> Any:
    """Return images one after the other: unread if they are in the same files, else in an array.

    Args:
        parts: at least one array (n, H, W) or (n, D, H, W), or stored images.
    """
    if all(isinstance(part, StoredImages) for part in parts):
        return StoredImages.joined(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def blocks(images: Any) -> Iterator[np.ndarray]:
    """Yield all images in arrays of some, in order, so that few are in memory at a time.

    Args:
        images: array of any dtype, such as uint8 (N, H, W) or (N, D, H, W), or stored images.
    """
    step = max(1, _BLOCK // bytes_of_one(images))
    for start in range(0, len(images), step):
        yield images[start : start + step]


def batches(images: Any, rows: np.ndarray, most_bytes: int) -> Iterator[np.ndarray]:
    """Yield the rows of images in batches whose pixels take so much memory at most, int64.

    Args:
        images: of which only shape and type are used.
        rows: all of them, int64.
        most_bytes: of the pixels of one batch; batches have a multiple of 256 images, or of 32 where these are large.
    """
    most = most_bytes // bytes_of_one(images)
    step = next((most // unit * unit for unit in (_MULTIPLE, 32) if most >= unit), 32)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def bytes_of_one(images: Any) -> int:
    """Return the bytes of the pixels of one image."""
    return max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)


def _runs(stored: Any, rows: np.ndarray) -> np.ndarray:
    """Read increasing rows of a dataset, consecutive ones together: HDF5 is slow where it is given each row by itself."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return np.concatenate([stored[run[0] : run[-1] + 1] for run in runs])
