"""Arrays and lists of keys that stay in HDF5 files and are read in slices, so that memory does not grow with their length.

Not here: checks of the files (hdf5.py), images in files (images/on_disk.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from deepssim.errors import readable
from deepssim.runtime.hdf5 import dataset, key_dataset, open_hdf5

_BLOCK = 2**20  # bytes of keys that are read together, a chunk as `hdf5.write_keys` makes them


@dataclass(frozen=True)
class StoredArray:
    """A dataset that is read when it is sliced along its first axis; operators of arrays need `numpy.asarray`.

    Attributes:
        path: HDF5 file.
        name: of the dataset.
        shape: of the dataset.
    """

    path: Path
    name: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, file: Any, name: str, *, ndim: int, kinds: str) -> "StoredArray":
        """Return a dataset of an open file, checked as by `hdf5.dataset` and not read."""
        return cls(Path(file.filename), name, dataset(file, name, ndim=ndim, kinds=kinds).shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return consecutive rows.

        Raises:
            DataError: if the file was damaged or replaced since it was opened.
        """
        with open_hdf5(self.path, needs=()) as file, readable(self.path, "HDF5"):
            return dataset(file, self.name)[rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class StoredKeys(Sequence[str]):
    """Keys that are read block by block.

    Args:
        file: open HDF5 file.
        name: of the dataset.
        expected: required number of keys.

    Raises:
        DataError: as `hdf5.read_keys`.
    """

    def __init__(self, file: Any, name: str, *, expected: int) -> None:
        stored = key_dataset(file, name, expected=expected)
        self.width = stored.dtype.itemsize
        self._stored = StoredArray(Path(file.filename), name, stored.shape)
        # Whole chunks, since each access decompresses a whole chunk.
        self._rows = max(_BLOCK // self.width, *(stored.chunks or ()), 1)

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Return one key, or a list of keys."""
        if isinstance(place, slice):
            return self.take(np.arange(*place.indices(len(self))))
        return self.take(np.array([range(len(self))[place]]))[0]

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks():
            yield from self._decoded(block)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(other) == len(self) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def take(self, places: np.ndarray) -> list[str]:
        """Return the keys at some places, int64 (n,), in that order; each block is read once."""
        found = np.empty(len(places), object)
        parts = places // self._rows
        for part in np.unique(parts):
            inside = np.flatnonzero(parts == part)
            block = self._stored[part * self._rows : (part + 1) * self._rows]
            found[inside] = self._decoded(block[places[inside] - part * self._rows])
        return found.tolist()

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the keys in arrays of UTF-8 text of fixed width, in order."""
        for start in range(0, len(self), self._rows):
            yield self._stored[start : start + self._rows]

    def _decoded(self, block: np.ndarray) -> list[str]:
        with readable(self._stored.path, "HDF5"):
            return [key.decode("utf-8") for key in block.tolist()]


def keys_at(keys: Sequence[str], places: np.ndarray) -> list[str]:
    """Return the keys at some places, int64 (n,), in that order.

    Args:
        keys: in memory or stored.
        places: from 0.
    """
    return keys.take(places) if isinstance(keys, StoredKeys) else [keys[place] for place in places.tolist()]
