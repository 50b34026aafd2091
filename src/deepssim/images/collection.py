"""Folders of images as a user has them: any format, any size, any depth of folders, brought to one size.

A file gives one image or several (slices of a volume, frames of a DICOM file). Keys are paths below the folder, so equal
names in different folders stay apart.

Not here: decoded images on disk (stages/audit_cache.py), data sets of the workflow (datasets/sources.py).
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepssim.errors import DataError
from deepssim.images.dicom import DICOM_SUFFIXES, is_dicom, read_dicom
from deepssim.images.keys import REAL_NAME
from deepssim.images.packs import ImagePack
from deepssim.images.reading import IMAGE_SUFFIXES, VOLUME_SUFFIXES, read_image, read_volume
from deepssim.images.standardize import fit, quantise

_GENERATED = "gen-"  # prefix of synthetic images in a tree of the reference code
_LEAST_FOREGROUND = 0.1  # share of pixels that are not black, below which a slice of a volume shows next to nothing


@dataclass(frozen=True)
class Decoded:
    """The images of one file, at the size of the audit.

    Attributes:
        images: uint8 (n, H, W).
        parts: n names of the images in the file; empty for a file that is one image.
        sizes: height and width that the images had.
    """

    images: np.ndarray
    parts: list[str]
    sizes: list[tuple[int, int]]


@dataclass(frozen=True)
class Collection:
    """The usable images of one folder.

    Attributes:
        pack: images and their keys.
        files: the file of each image.
        content: SHA-256 of the pixels of each image, at the size of the audit.
        sizes: how many images had which size before, `HxW`.
        constant: keys of images that show nothing and were left out.
    """

    pack: ImagePack
    files: list[Path]
    content: list[str]
    sizes: dict[str, int]
    constant: list[str]


def list_files(root: Path, *, synthetic: bool) -> list[Path]:
    """Return the image files of a folder and below, sorted.

    In an image tree of the reference code `<uid>/training.png` is real and `<uid>/gen-<i>.png` is not; each side takes
    its own.

    Raises:
        DataError: if the folder does not exist or holds no image.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; name a folder with images")
    known = (*IMAGE_SUFFIXES, *VOLUME_SUFFIXES)
    files = sorted(
        path
        for path in root.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
        and (path.name.lower().endswith(known) or is_dicom(path))
    )
    trees = {path.parent for path in files if path.stem == REAL_NAME}
    if any(path.parent in trees and path.name.startswith(_GENERATED) for path in files):
        files = [path for path in files if path.parent not in trees or (path.stem != REAL_NAME) is synthetic]
    if not files:
        raise DataError(f"{root}: has no image; it needs files that end in {', '.join((*known, *DICOM_SUFFIXES))}")
    return files


def decode(path: Path, size: Sequence[int], percentiles: Sequence[float]) -> Decoded:
    """Read a file and bring its images to one size: padded with black to its aspect ratio, then resized.

    Raises:
        DataError: if the file cannot be read.
    """
    images, parts = _read(path, percentiles)
    fitted = [quantise(fit(image, size), 8) for image in images]
    pixels = np.stack(fitted) if fitted else np.zeros((0, *size), np.uint8)
    return Decoded(pixels, parts, [(image.shape[0], image.shape[1]) for image in images])


def _read(path: Path, percentiles: Sequence[float]) -> tuple[list[np.ndarray], list[str]]:
    name = path.name.lower()
    if name.endswith(VOLUME_SUFFIXES):
        return _slices(read_volume(path, percentiles=percentiles, planes=True))
    if name.endswith(IMAGE_SUFFIXES):
        return [read_image(path, percentiles=percentiles)], [""]
    frames = read_dicom(path, percentiles=percentiles)
    return frames, [f"frame-{number:03d}" for number in range(len(frames))] if len(frames) > 1 else [""]


def _slices(volume: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    """Cut a volume along its third axis, anterior up; slices that are nearly empty are left out."""
    images, parts = [], []
    for index in range(volume.shape[2]):
        pixels = np.ascontiguousarray(volume[:, :, index].T[::-1])
        if volume.shape[2] == 1 or np.count_nonzero(pixels) >= _LEAST_FOREGROUND * pixels.size:
            images.append(pixels)
            parts.append(f"slice-{index:03d}" if volume.shape[2] > 1 else "")
    return images, parts


def checksums(files: Sequence[Path], threads: int) -> list[str]:
    """Return the SHA-256 of each file."""

    def checksum(path: Path) -> str:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(checksum, files))


def collect(root: Path, files: Sequence[Path], decoded: Sequence[Decoded]) -> Collection:
    """Put the images of all files of a folder together, without those that show nothing.

    Raises:
        DataError: if no image is left.
    """
    keys, owners, images = [], [], []
    sizes: dict[str, int] = {}
    for path, item in zip(files, decoded, strict=True):
        stem = path.relative_to(root).as_posix()
        for part, (height, width) in zip(item.parts, item.sizes, strict=True):
            keys.append(f"{stem}#{part}" if part else stem)
            owners.append(path)
            sizes[f"{height}x{width}"] = sizes.get(f"{height}x{width}", 0) + 1
        images.append(item.images)
    pixels = np.concatenate(images)
    shows = pixels.min(axis=(1, 2)) < pixels.max(axis=(1, 2))
    if not shows.any():
        raise DataError(f"{root}: all {len(keys)} images are constant and show nothing; name a folder with images")
    kept = np.flatnonzero(shows)
    pack = ImagePack(pixels if shows.all() else pixels[kept], [keys[row] for row in kept])
    content = [hashlib.sha256(image.tobytes()).hexdigest() for image in pack.images]
    constant = [key for key, usable in zip(keys, shows, strict=True) if not usable]
    return Collection(pack, [owners[row] for row in kept], content, sizes, constant)
