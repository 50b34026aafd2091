"""Decoded images in the files of an audit's cache: pixels stay there, and what tells of them comes into memory.

Not here: which images are decoded and when (cache.py), how an image is read from such a file (images/on_disk.py).
"""

import json
from collections.abc import Container, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from deepssim.images.folders import Decoded
from deepssim.images.frames import Facts
from deepssim.images.on_disk import ImageFiles, StoredImages
from deepssim.runtime.hdf5 import dataset, open_hdf5, read_keys, write_keys

_About = tuple[list[str], list[tuple[int, ...]], dict[str, int], Facts]  # a file: all of `Decoded` but the pixels


class DecodedParts:
    """The decoded images of many files in HDF5 files, of which pixels are read when they are indexed."""

    def __init__(self) -> None:
        self._files = ImageFiles()
        self._alike: dict[tuple[object, ...], _About] = {}  # most files of a folder differ in their pixels only

    def read(self, path: Path, wanted: Container[str]) -> dict[str, Decoded]:
        """Return those of the files in one part that are wanted, by name, without their pixels.

        Args:
            path: of the part.
            wanted: names.

        Raises:
            DataError: if the part is damaged.
        """
        with open_hdf5(path, needs=("images", "counts", "sizes", "parts", "files", "about")) as file:
            counts, sizes = dataset(file, "counts")[:], dataset(file, "sizes")[:]
            names = read_keys(file, "files", expected=len(counts))
            if not any(name in wanted for name in names):
                return {}
            parts = read_keys(file, "parts", expected=len(sizes))
            about = read_keys(file, "about", expected=len(counts))
            rows = self._files.add(path, dataset(file, "images"))
        known = {}
        for name, stop, count, text in zip(names, np.cumsum(counts).tolist(), counts.tolist(), about, strict=True):
            if name in wanted:
                inside = slice(stop - count, stop)
                found = self._about(parts[inside], [tuple(map(int, size)) for size in sizes[inside]], text)
                images = StoredImages(self._files, rows[inside])
                known[name] = Decoded(images, *found)  # type: ignore[arg-type]  # indexed as an array is
        return known

    def _about(self, parts: list[str], sizes: list[tuple[int, ...]], text: str) -> _About:
        """Return what is known of a file, in one copy for all that are alike."""
        key = (text, *parts, *sizes)
        if key not in self._alike:
            further = json.loads(text)
            facts = Facts(**(further["facts"] | {"notices": tuple(further["facts"]["notices"])}))
            if len(parts) != 1:
                return parts, sizes, further["left_out"], facts
            self._alike[key] = (parts, sizes, further["left_out"], facts)
        return self._alike[key]


def write_part(path: str | Path, names: Sequence[str], decoded: Sequence[Decoded]) -> None:
    """Write the decoded images of some files.

    Args:
        path: to write.
        names: of the files.
        decoded: their images, of one size.
    """
    counts = [len(item.parts) for item in decoded]
    sizes = np.array([size for item in decoded for size in item.sizes], np.int64)
    with h5py.File(path, "w") as file:
        first = decoded[0].images
        images = file.create_dataset("images", (sum(counts), *first.shape[1:]), first.dtype)
        for item, stop in zip(decoded, np.cumsum(counts).tolist(), strict=True):
            if item.parts:
                images[stop - len(item.parts) : stop] = item.images
        file.create_dataset("counts", data=np.array(counts, np.int64))
        file.create_dataset("sizes", data=sizes.reshape(-1, first.ndim - 1))
        write_keys(file, "files", names)
        write_keys(file, "parts", [part for item in decoded for part in item.parts])
        write_keys(
            file, "about", [json.dumps({"left_out": item.left_out, "facts": asdict(item.facts)}) for item in decoded]
        )
