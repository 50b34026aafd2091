"""The image files of a folder, and their images at the size of the audit.

A file holds one image or several (slices of a volume, frames, pages).

Not here: accounting for every file (listing.py), reading a file (files.py), decoded images on disk (audit/cache.py), the
workflow's datasets (datasets/sources.py).
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError, NotAnImage
from deepssim.images.files import ALL_SLICES, FORMATS, Format, read_contents, stem_of
from deepssim.images.frames import Facts
from deepssim.images.keys import REAL_NAME, is_further_folder
from deepssim.images.listing import ALL_FILES, Entry, Status, list_folder, path_below
from deepssim.images.on_disk import blocks, joined
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import Geometry, fit, quantise
from deepssim.images.stored import values_beside
from deepssim.runtime.hashes import DIGEST, Hashes
from deepssim.runtime.provenance import file_checksum, fingerprint

logger = logging.getLogger(__name__)

_TOGETHER = 4096  # files that wait for their turn, each of which takes 2 kB
_HEAD = 8  # bytes that tell a NRRD
_GENERATED = "gen-"  # prefix of synthetic images in a tree of the reference code


class TreeSide(StrEnum):
    """Which images of a reference tree to list: `<uid>/training.png` is real, `<uid>/gen-<i>.png` synthetic."""

    REAL = "real"
    SYNTHETIC = "synthetic"
    BOTH = "both"


@dataclass(frozen=True, slots=True)  # of a million files
class Decoded:
    """The images of one file, or the volumes of one scan, resized.

    Attributes:
        images: uint8 (n, H, W), or (n, D, H, W) of volumes; once they are in the cache, `on_disk.StoredImages`.
        parts: n names of the images within the file; empty for the only image of a file.
        sizes: their n heights and widths before resizing; of volumes, first the depth.
        left_out: number of further images of the file that are not used, by reason.
        facts: how the file stores its images.
    """

    images: np.ndarray
    parts: list[str]
    sizes: list[tuple[int, ...]]
    left_out: dict[str, int] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)


@dataclass(frozen=True)
class Collection:
    """The usable images of one folder.

    Attributes:
        pack: images and their keys.
        files: the file of each image.
        pixel_hashes: SHA-256 of the pixels of each image, after resizing; in 32 bytes each.
        sizes: number of images of each original size, `HxW`.
        constant: keys of constant images, which were left out.
        left_out: number of other images that were left out, by reason.
        stored: how the files store images: number of files by `bits`, `orientation`, `modality` and `notice`.
        rows: int64 (N,), place of each image among all images of the files, constant ones included.
        scans: files of each volume, where a volume is made of several; empty otherwise.
    """

    pack: ImagePack
    files: list[Path]
    pixel_hashes: Sequence[str]
    sizes: dict[str, int]
    constant: list[str]
    left_out: dict[str, int] = field(default_factory=dict)
    stored: dict[str, dict[str, int]] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    scans: list[tuple[Path, ...]] = field(default_factory=list)

    @property
    def members(self) -> list[tuple[Path, ...]]:
        """The files of each image; more than one for a volume of several files."""
        return self.scans or [(path,) for path in self.files]


def find_files(
    root: Path, *, patterns: Sequence[str] = ALL_FILES, formats: Sequence[Format] | None = None
) -> list[Path]:
    """Return the image files of a folder, sorted and possibly none; what cannot be read is logged.

    Args:
        root, patterns, formats: as of `listing.list_folder`.

    Raises:
        DataError: if the folder does not exist or a pattern is not usable.
    """
    entries = list_folder(root, patterns=patterns, formats=formats)
    unread = [entry for entry in entries if entry.status is Status.NOT_READ]
    if unread:
        logger.warning(
            "%s: %d of %d files cannot be read, first %s: %s", root, len(unread), len(entries), unread[0].name,
            unread[0].reason,
        )  # fmt: skip
    return [entry.path for entry in entries if entry.status is Status.READ]


def list_files(
    root: Path,
    *,
    patterns: Sequence[str] = ALL_FILES,
    side: TreeSide = TreeSide.BOTH,
    formats: Sequence[Format] | None = None,
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
        suffixes = ", ".join(suffix for known in formats or FORMATS for suffix in known.suffixes)
        wanted = f" that matches {_quoted(patterns)}" if tuple(patterns) != ALL_FILES else ""
        raise DataError(f"{root}: has no image{wanted}; it needs files that end in {suffixes}; {advice}")
    return files


def decode(
    path: Path,
    size: Sequence[int],
    percentiles: Sequence[float],
    geometry: Geometry = Geometry.PAD,
    slicing: VolumesConfig = ALL_SLICES,
) -> Decoded:
    """Read a file and bring its images to one size.

    Args:
        path: of the file, of any format.
        size: height and width to reach.
        percentiles: intensity window, see `read_contents`.
        geometry: what is done about another aspect ratio.
        slicing: how volumes are cut.

    Raises:
        DataError: if the file cannot be read.
    """
    contents = read_contents(path, percentiles=percentiles, slicing=slicing)
    images: list[np.ndarray] = []
    parts: list[str] = []
    sizes: list[tuple[int, ...]] = []
    left_out: Counter[str] = Counter()
    for frame in contents.frames:  # one at a time: all images of a volume at their own size may not fit into memory
        if frame.left_out:
            left_out[frame.left_out] += 1
            continue
        images.append(quantise(fit(frame.pixels, size, geometry), 8))
        parts.append(frame.part)
        sizes.append((frame.pixels.shape[0], frame.pixels.shape[1]))
    pixels = np.stack(images) if images else np.zeros((0, *size), np.uint8)
    return Decoded(pixels, parts, sizes, dict(left_out), contents.facts)


def decode_if_image(path: Path, size: Sequence[int], percentiles: Sequence[float]) -> Decoded:
    """Decode a file that nobody named; one that holds no images by its nature, such as a DICOMDIR, gives none.

    Args:
        path, size, percentiles: as of `decode`.
    """
    try:
        return decode(path, size, percentiles)
    except NotAnImage as error:
        logger.info("left out: %s", error)
        return Decoded(np.zeros((0, *size), np.uint8), [], [])


def checksums(files: Sequence[Path], threads: int, *, with_values: bool = False) -> list[str | DataError]:
    """Return the SHA-256 of each file, or why it cannot be read.

    Args:
        files: to read.
        threads: files read at a time.
        with_values: whether the checksum of a header covers the files beside it that hold the values.
    """

    def checksum(path: Path) -> str | DataError:
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
                file.seek(0)
                found = hashlib.file_digest(file, "sha256").hexdigest()
            beside = values_beside(path, head) if with_values else []
            if not beside:
                return found
            return fingerprint([found, *(file_checksum(other) for other in beside)])
        except OSError as error:
            return DataError(f"{path}: cannot be read ({error.strerror})")

    found: list[str | DataError] = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), _TOGETHER):
            found += pool.map(checksum, files[start : start + _TOGETHER])
    return found


def collect(
    root: Path,
    files: Sequence[Path],
    decoded: Sequence[Decoded],
    *,
    names: Sequence[Path] = (),
    scans: Sequence[tuple[Path, ...]] = (),
) -> Collection:
    """Put the images of all files of a folder together, without constant ones.

    Args:
        root: the folder.
        files: its files, as listed by `list_files`.
        decoded: their images, in the same order.
        names: paths that name them, where they are volumes of several files, of which `files` has the first; `files` unless given.
        scans: all files of each, where they are volumes of several files.

    Returns:
        The images; keys are paths below the folder, followed by `#` and the part for a file of several images.

    Raises:
        DataError: if no image is left.
    """
    keys, owners, images = [], [], []
    sizes: dict[str, int] = {}
    left_out: Counter[str] = Counter()
    stored: dict[str, Counter[str]] = {name: Counter() for name in ("bits", "orientation", "modality", "notice")}
    for number, (path, item) in enumerate(zip(names or files, decoded, strict=True)):
        stem = path_below(root, path) or path_below(root, files[number])
        for part, shape in zip(item.parts, item.sizes, strict=True):
            keys.append(f"{stem}#{part}" if part else stem)
            owners.append(number)
            size = "x".join(map(str, shape))
            sizes[size] = sizes.get(size, 0) + 1
        images.append(item.images)
        left_out.update(item.left_out)
        facts = item.facts
        stored["bits"].update([str(facts.bits)] if facts.bits else [])
        stored["orientation"].update([facts.orientation] if facts.orientation else [])
        stored["modality"].update([facts.modality] if facts.modality else [])
        stored["notice"].update(facts.notices)
    pixels = joined(images)
    within = tuple(range(1, pixels.ndim))
    shows = np.concatenate([np.zeros(0, bool), *(part.min(within) < part.max(within) for part in blocks(pixels))])
    if not shows.any():
        reasons = "".join(f", {count} others are left out: {reason}" for reason, count in left_out.items())
        raise DataError(
            f"{root}: all {len(keys)} images are constant and show nothing{reasons}; name a folder with images"
        )
    kept = np.flatnonzero(shows)
    pack = ImagePack(pixels if shows.all() else pixels.take(kept, axis=0), [keys[row] for row in kept])
    constant = [key for key, usable in zip(keys, shows, strict=True) if not usable]
    return Collection(
        pack, [files[owners[row]] for row in kept], pixel_hashes(pack), sizes, constant, dict(left_out),
        {name: dict(counts) for name, counts in stored.items()}, kept, [scans[owners[row]] for row in kept] if scans else [],
    )  # fmt: skip


def pixel_hashes(pack: ImagePack) -> Hashes:
    """Return the SHA-256 of the pixels of each image."""
    digests = (hashlib.sha256(image.tobytes()).digest() for part in blocks(pack.images) for image in part)
    return Hashes(np.fromiter(digests, DIGEST, len(pack.keys)))


def of_side(entries: Sequence[Entry], side: TreeSide) -> list[Entry]:
    """Mark the files of the other side of a reference tree as left out; folders of other layouts stay as they are."""
    listed = {entry.path for entry in entries if entry.status is Status.READ}
    kept = set(_of_side(sorted(listed), side))
    return [
        Entry(
            entry.path, entry.name, Status.LEFT_OUT, "image of the other side of a tree <uid>/training.png, gen-0.png"
        )
        if entry.path in listed and entry.path not in kept
        else entry
        for entry in entries
    ]


def _of_side(files: list[Path], side: TreeSide) -> list[Path]:
    """Keep the files of one side in folders with a real image, if any of these folders also holds generated images."""
    if side is TreeSide.BOTH:
        return files
    trees = {path.parent for path in files if stem_of(path) == REAL_NAME}
    records = [
        path.parent.parent if path.parent not in trees and is_further_folder(path.parent.name) else path.parent
        for path in files
    ]
    owned = list(zip(files, records, strict=True))
    if not any(record in trees and path.name.startswith(_GENERATED) for path, record in owned):
        return files
    real = side is TreeSide.REAL
    return [path for path, record in owned if record not in trees or (stem_of(path) == REAL_NAME) is real]


def _quoted(patterns: Sequence[str]) -> str:
    return " or ".join(map(repr, patterns))
