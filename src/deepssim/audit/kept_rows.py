"""What an audit has computed of each image, such as an embedding: rows of HDF5 files, which are read when they are used.

Not here: which files and when they are written (cache.py), reading rows of them (images/on_disk.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.images.on_disk import ImageFiles, StoredImages
from deepssim.runtime.hashes import digests_of


class KeptRows:
    """Where the values of N images are, in files that are added one by one.

    Args:
        contents: what tells each image from all others; the last of equal ones stands for all.
        names: of the datasets that hold values.
    """

    def __init__(self, contents: Sequence[str], names: Sequence[str]) -> None:
        digests = digests_of(contents)
        order = np.argsort(digests, kind="stable")
        ordered = digests[order]
        last = np.append(ordered[1:] != ordered[:-1], True)
        self._digests, self._last = ordered[last], order[last]
        self._which = np.empty(len(order), np.int64)  # of the different images each one is
        self._which[order] = np.cumsum(last) - last
        self._rows = np.full(len(self._last), -1)
        self._files = {name: ImageFiles(name) for name in names}

    @property
    def different(self) -> int:
        """Number of different images."""
        return len(self._last)

    def add(self, path: Path, keys: Sequence[str], values: Mapping[str, Any]) -> None:
        """Take the values of those images that a file holds; others in it are passed over.

        Args:
            path: of the file.
            keys: contents of its images.
            values: its datasets by name, of which shape and type are used.
        """
        digests = digests_of(keys)
        places = np.minimum(np.searchsorted(self._digests, digests), len(self._digests) - 1)
        held = self._digests[places] == digests
        if not held.any():
            return
        starts = {files.add(path, values[name]).start for name, files in self._files.items()}
        self._rows[places[held]] = starts.pop() + np.flatnonzero(held)  # one place in all of them

    def left(self) -> np.ndarray:
        """Return one row for each image that is not known yet, int64 (n,), increasing."""
        return np.sort(self._last[self._rows < 0])

    def values(self, name: str) -> StoredImages:
        """Return the values of all images, by name of the dataset; equal images have equal ones."""
        return StoredImages(self._files[name], self._rows[self._which])
