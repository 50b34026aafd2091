"""Image packs: all images of one role in one HDF5 file, decoded once.

Not here: reading image files (files.py), bringing images to one size and bit depth (standardize.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.keys import require_unique
from deepssim.images.on_disk import ImageFiles, StoredImages
from deepssim.runtime.hdf5 import dataset, open_hdf5, read_keys, write_keys


@dataclass(frozen=True)
class ImagePack:
    """Images with their keys.

    Attributes:
        images: uint8 or uint16, shape (N, H, W), or (N, D, H, W) of volumes, over the full range of the type; of an open pack,
            the HDF5 dataset, or `on_disk.StoredImages`.
        keys: N distinct image keys, in the order of `images`.
    """

    images: np.ndarray
    keys: list[str]

    def __post_init__(self) -> None:
        if self.images.ndim not in (3, 4) or len(self.images) != len(self.keys):
            raise ValueError(
                f"expected (N, H, W) or (N, D, H, W) with N keys, got {self.images.shape} and {len(self.keys)} keys"
            )

    @cached_property
    def index(self) -> dict[str, int]:
        """Row number of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    @property
    def spatial_dims(self) -> int:
        """2 for images, 3 for volumes."""
        return self.images.ndim - 1

    @property
    def bit_depth(self) -> int:
        """Bits per pixel, 8 or 16."""
        return self.images.dtype.itemsize * 8

    @property
    def maximum(self) -> int:
        """Largest value of the pixel type, 255 or 65535."""
        return int(np.iinfo(self.images.dtype).max)

    @property
    def bytes_in_memory(self) -> int:
        """Memory of the images; 0 for an open pack, whose images stay in the file."""
        return self.images.nbytes if isinstance(self.images, np.ndarray) else 0

    def select(self, keys: Sequence[str]) -> "ImagePack":
        """Return the images of some keys, in that order.

        Raises:
            DataError: if a key is not in the pack.
        """
        absent = [key for key in keys if key not in self.index]
        if absent:
            raise DataError(f"{len(absent)} of {len(keys)} images are not in the image pack, first {absent[0]!r}")
        return ImagePack(self.images[np.array([self.index[key] for key in keys], np.int64)], list(keys))

    def unit(self) -> np.ndarray:
        """Return the images as float32, same shape, 0 to 1."""
        return self.images.astype(np.float32) / np.float32(self.maximum)


def write_pack(path: str | Path, pack: ImagePack) -> None:
    """Write an image pack to HDF5, with one image per chunk, so that single images can be read.

    Args:
        path: file to write.
        pack: images.

    Raises:
        DataError: if a key occurs more than once.
    """
    require_unique(pack.keys, str(path))
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=pack.images, chunks=(1, *pack.images.shape[1:]), compression="lzf")
        write_keys(file, "keys", pack.keys)


def read_pack(path: str | Path) -> ImagePack:
    """Read an image pack into memory.

    Raises:
        DataError: if the file is damaged or not an image pack.
    """
    with open_pack(path) as pack, readable(path, "an image pack"):
        return ImagePack(pack.images[:], pack.keys)


@contextmanager
def open_pack(path: str | Path) -> Iterator[ImagePack]:
    """Open an image pack without reading it: images are read when they are sliced.

    Raises:
        DataError: if the file is damaged or not an image pack.
    """
    with open_hdf5(path, needs=("images", "keys")) as file:
        images = dataset(file, "images")
        if images.ndim not in (3, 4) or images.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"{path}: holds {images.dtype} of shape {images.shape}, expected uint8 or uint16 (N, H, W) or (N, D, H, W)"
            )
        yield ImagePack(images, read_keys(file, "keys", expected=len(images)))


@contextmanager
def open_packs(paths: Sequence[str | Path]) -> Iterator[ImagePack]:
    """Open image packs, for example all shards of synthetic images, as a single one whose images are read when they are indexed.

    Args:
        paths: at least one.

    Raises:
        DataError: if a file is damaged or not an image pack, images differ in size or bit depth, or a key occurs twice.
    """
    keys: list[str] = []
    kinds, files = [], ImageFiles()
    for path in paths:
        with open_pack(path) as pack:
            keys += pack.keys
            kinds.append((pack.images.shape[1:], pack.images.dtype))
            if kinds[-1] == kinds[0]:
                files.add(path, pack.images)
    other = [(path, kind) for path, kind in zip(paths, kinds, strict=True) if kind != kinds[0]]
    if other:
        (path, kind), first = other[0], kinds[0]
        raise DataError(
            f"{path}: holds {kind[1]} images of {'x'.join(map(str, kind[0]))}, unlike {paths[0]} ({first[1]}, "
            f"{'x'.join(map(str, first[0]))}) and {len(other)} of {len(paths)} packs in all; make them with the same settings"
        )
    require_unique(keys, f"{paths[0]} and {len(paths) - 1} other packs" if len(paths) > 1 else str(paths[0]))
    try:
        # As an open dataset, they are indexed as an array is.
        yield ImagePack(StoredImages(files, range(len(keys))), keys)  # type: ignore[arg-type]
    finally:
        files.close()


def require_same_size(real: ImagePack, synthetic: ImagePack, *, min_side: int) -> None:
    """Check that the images of two packs have the same size.

    Args:
        real: real images.
        synthetic: synthetic images.
        min_side: smallest allowed side in pixels.

    Raises:
        DataError: if the sizes differ or a side is too small.
    """
    sizes = ["x".join(str(side) for side in pack.images.shape[1:]) for pack in (real, synthetic)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"real images are {sizes[0]} and synthetic ones {sizes[1]}; bring them to one size (dataset.image_size)"
        )
    if min(real.images.shape[1:]) < min_side:
        least = "x".join([str(min_side)] * real.spatial_dims)
        raise DataError(f"images of {sizes[0]} are smaller than the {least} minimum; use larger images")
