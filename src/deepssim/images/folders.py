"""The lister of image folders, and the images of a folder at the size of the audit.

Workflow, audit, notebook and reference commands all list folders through here. A file holds one image or several (slices of
a volume, frames, pages).

Not here: reading a file (files.py), decoded images on disk (audit/cache.py), the workflow's datasets (datasets/sources.py).
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from deepssim.errors import DataError
from deepssim.images.files import FORMATS, Format, format_of, read_contents, stem_of
from deepssim.images.keys import REAL_NAME
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import fit, quantise

ALL_FILES = ("**/*",)
_GENERATED = "gen-"  # prefix of synthetic images in a tree of the reference code


class TreeSide(StrEnum):
    """Which images of a reference tree to list: `<uid>/training.png` is real, `<uid>/gen-<i>.png` synthetic."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    BOTH = "both"


@dataclass(frozen=True)
class Decoded:
    """The images of one file, resized.

    Attributes:
        images: uint8 (n, H, W).
        parts: n names of the images within the file; empty for the only image of a file.
        sizes: their n heights and widths before resizing.
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
        pixel_hashes: SHA-256 of the pixels of each image, after resizing.
        sizes: number of images of each original size, `HxW`.
        constant: keys of constant images, which were left out.
    """

    pack: ImagePack
    files: list[Path]
    pixel_hashes: list[str]
    sizes: dict[str, int]
    constant: list[str]


def find_files(root: Path, *, patterns: Sequence[str] = ALL_FILES, formats: Sequence[Format] = FORMATS) -> list[Path]:
    """Return the image files of a folder, sorted and possibly none; hidden files and folders are left out.

    Args:
        root: the folder.
        patterns: glob patterns relative to the folder; a file must match one of them.
        formats: formats to look for.

    Raises:
        DataError: if the folder does not exist or a pattern is not usable.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder")
    try:
        matches = dict.fromkeys(path for pattern in patterns for path in root.glob(pattern))
    except (NotImplementedError, ValueError) as error:
        raise DataError(f"{root}: cannot be searched for {_quoted(patterns)} ({error})") from None
    return sorted(path for path in matches if not _hidden(path, root) and path.is_file() and format_of(path) in formats)


def path_below(root: Path, path: Path) -> str:
    """Return the path of a listed file relative to its folder, with slashes."""
    return "/".join(path.parts[len(root.parts) :])


def list_files(
    root: Path,
    *,
    patterns: Sequence[str] = ALL_FILES,
    side: TreeSide = TreeSide.BOTH,
    formats: Sequence[Format] = FORMATS,
    advice: str = "name a folder with images",
) -> list[Path]:
    """Return the image files of a folder, sorted; see `find_files`.

    Args:
        root, patterns, formats: as of `find_files`.
        side: of a reference tree, the images to list; folders of other layouts are listed in full.
        advice: the end of error messages.

    Raises:
        DataError: if the folder does not exist or holds no image.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; {advice}")
    files = _of_side(find_files(root, patterns=patterns, formats=formats), side)
    if not files:
        suffixes = ", ".join(suffix for known in formats for suffix in known.suffixes)
        wanted = f" that matches {_quoted(patterns)}" if tuple(patterns) != ALL_FILES else ""
        raise DataError(f"{root}: has no image{wanted}; it needs files that end in {suffixes}; {advice}")
    return files


def decode(path: Path, size: Sequence[int], percentiles: Sequence[float]) -> Decoded:
    """Read a file and bring its images to one size: padded with black to its aspect ratio, then resized.

    Args:
        path: of the file, of any format.
        size: height and width to reach.
        percentiles: intensity window, see `read_contents`.

    Raises:
        DataError: if the file cannot be read.
    """
    images, parts, sizes = [], [], []
    for frame in read_contents(path, percentiles=percentiles).frames:  # one by one: a volume may not fit into memory
        if not frame.left_out:
            images.append(quantise(fit(frame.pixels, size), 8))
            parts.append(frame.part)
            sizes.append((frame.pixels.shape[0], frame.pixels.shape[1]))
    return Decoded(np.stack(images) if images else np.zeros((0, *size), np.uint8), parts, sizes)


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
    """Put the images of all files of a folder together, without constant ones.

    Args:
        root: the folder.
        files: its files, as listed by `list_files`.
        decoded: their images, in the same order.

    Returns:
        The images; keys are paths below the folder, followed by `#` and the part for a file of several images.

    Raises:
        DataError: if no image is left.
    """
    keys, owners, images = [], [], []
    sizes: dict[str, int] = {}
    for path, item in zip(files, decoded, strict=True):
        stem = path_below(root, path)
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
    pixel_hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in pack.images]
    constant = [key for key, usable in zip(keys, shows, strict=True) if not usable]
    return Collection(pack, [owners[row] for row in kept], pixel_hashes, sizes, constant)


def _hidden(path: Path, root: Path) -> bool:
    return any(part[0] == "." and part != ".." for part in path.parts[len(root.parts) :])


def _of_side(files: list[Path], side: TreeSide) -> list[Path]:
    """Keep the files of one side in folders with a real image, if any of these folders also holds generated images."""
    if side is TreeSide.BOTH:
        return files
    trees = {path.parent for path in files if stem_of(path) == REAL_NAME}
    if not any(path.parent in trees and path.name.startswith(_GENERATED) for path in files):
        return files
    real = side is TreeSide.REAL
    return [path for path in files if path.parent not in trees or (stem_of(path) == REAL_NAME) is real]


def _quoted(patterns: Sequence[str]) -> str:
    return " or ".join(map(repr, patterns))
