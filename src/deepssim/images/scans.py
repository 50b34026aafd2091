"""Whole volumes from the files of a folder: which files make up a scan, and its voxels in the common grid.

Everything is read by the reader of images (files.py): a file of a volume as a whole, other files frame by frame.

Not here: the grid (grid.py), planes of DICOM series in space (dicom_series.py), slices as images of their own (folders.py).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError, NotAVolume
from deepssim.images.coherence import PLANES_APART, are_planes_apart
from deepssim.images.dicom_series import (
    GAPS,
    Plane,
    grouped,
    planes_of_file,
    require_planes,
    split_repeats,
    volume_of_planes,
)
from deepssim.images.files import format_of, load_volume, read_contents
from deepssim.images.folders import Decoded
from deepssim.images.frames import AS_STORED, Contents, Facts, Frame
from deepssim.images.grid import (
    NO_ORIENTATION,
    NOT_ISOTROPIC,
    is_isotropic,
    isotropic_shape,
    require_volume_shape,
    to_grid,
)
from deepssim.images.layouts import VOLUMES
from deepssim.images.rasters import RASTER_SUFFIXES
from deepssim.images.stored import orient
from deepssim.images.volumes import Volume, numbers_of, value_notices, window_of

_ADVICE = "compare such files as images (--unit image)"


@dataclass(frozen=True, slots=True)  # of a million files
class Scan:
    """Files that one volume, or several in one file, are read from.

    Attributes:
        files: in the order of their planes, or of their names.
        name: the file, or the folder if its files are all of one scan.
        planes: of DICOM files, in their order.
    """

    files: tuple[Path, ...]
    name: Path
    planes: tuple[Plane, ...] = ()


@dataclass
class _Opened:
    """A scan while it is read: what its volumes are stored as, and what was left out."""

    facts: Facts = field(default_factory=Facts)
    notices: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def find_scans(files: Sequence[Path]) -> list[Scan]:
    """Return the scans that the files of a folder make up: each file belongs to one.

    DICOM files belong together by folder, series, direction and size; pictures whose names differ in their last number only are the
    slices of one scan, unless they hold several images themselves; any other file is a scan, or several, by itself.

    Args:
        files: of one folder and its subfolders, as listed.
    """
    dicom, pictures, others = [], defaultdict(list), []
    for path in files:
        known = format_of(path)
        if known is not None and known.read_patient is not None:
            dicom.append(path)
        elif path.name.lower().endswith(RASTER_SUFFIXES):
            pictures[path.parent, _series_of(path.name)].append(path)
        else:
            others.append(Scan((path,), path))
    stacks = [group for paths in pictures.values() for group in _of_pictures(sorted(paths, key=_natural))]
    found = [*others, *_of_dicom(dicom), *(Scan(tuple(paths), paths[0]) for paths in stacks)]
    inside = Counter(path.parent for path in files)
    named = [
        Scan(scan.files, scan.files[0].parent, scan.planes)
        if len(scan.files) > 1 and inside[scan.files[0].parent] == len(scan.files)
        else scan
        for scan in found
    ]
    return sorted(named, key=lambda scan: scan.name)


def _series_of(name: str) -> tuple[str, ...]:
    """Return a name without its last number."""
    *first, _, last = re.split(r"(\d+)(?=\D*$)", name) if re.search(r"\d", name) else ("", "", name)
    return (*first, last)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them: 2 before 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _of_pictures(paths: list[Path]) -> list[list[Path]]:
    try:
        several = sum(1 for _ in read_contents(paths[0], percentiles=AS_STORED).frames) > 1
    except DataError:
        several = False  # each file is read again, where its error belongs
    return [[path] for path in paths] if several else [paths]


def _of_dicom(paths: Sequence[Path]) -> list[Scan]:
    planes: list[Plane] = []
    found = []
    for path in paths:
        try:
            of_file = planes_of_file(path)
        except DataError:
            of_file = []
        planes += of_file
        if not of_file:  # damaged, or no image: where it is read, its error says so
            found.append(Scan((path,), path))
    groups = grouped(planes)
    return found + [
        Scan(tuple(dict.fromkeys(plane.path for plane in group)), group[0].path, tuple(group)) for group in groups
    ]


def decode_scan(
    scan: Scan,
    side: int | Sequence[int] | None,
    percentiles: Sequence[float],
    slicing: VolumesConfig,
    *,
    certain: bool = False,
    bit_depth: int = 8,
) -> Decoded:
    """Read the volumes of a scan and bring them to the common grid.

    Args:
        scan: of `find_scans`.
        side: voxels along each axis; depth, height and width of a grid that is no cube; None for those of each volume in
            isotropic voxels.
        percentiles: intensity window over each whole volume, whatever the format: scans of one study are stored as bytes on one
            side and as Hounsfield units on the other.
        slicing: of which `fourth_axis` and `dicom_window` are used.
        certain: refuse images that may as well be of many people, such as the pages of a TIFF, an array (N, H, W) or pictures.
        bit_depth: 8 or 16.

    Returns:
        Volumes uint8 or uint16 (n, side, side, side), see `grid.to_grid`, with their sizes in isotropic voxels.

    Raises:
        NotAVolume: if the files hold images that are not the planes of a volume.
        DataError: if one of them cannot be read.
    """
    opened = _Opened()
    grids: list[np.ndarray] = []
    sizes: list[tuple[int, ...]] = []
    for volume, number in _volumes(scan, slicing, opened, certain=certain):
        require_volume_shape(volume.values.shape, scan.name)
        window = window_of(volume, number, percentiles, scan.name)
        sizes.append(isotropic_shape(volume))
        grids.append(to_grid(volume, number, sizes[-1] if side is None else side, window, bit_depth=bit_depth))
        assumed = value_notices(volume, [window]) | {
            NO_ORIENTATION: not volume.codes,
            NOT_ISOTROPIC: not is_isotropic(volume),
            PLANES_APART: are_planes_apart(volume, number, window),
        }
        opened.notices += [notice for notice, holds in assumed.items() if holds]
    if not grids:
        raise NotAVolume(f"{scan.name}: holds no volume; {_ADVICE}")
    facts = opened.facts
    notices = dict.fromkeys(notice for notice in (*facts.notices, *opened.notices) if notice != VOLUMES)
    parts = [f"volume-{number:03d}" if len(grids) > 1 else "" for number in range(len(grids))]
    return Decoded(
        np.stack(grids), parts, sizes, dict(opened.left_out),
        Facts(facts.bits, facts.orientation, facts.modality, tuple(notices), True),
    )  # fmt: skip


def _volumes(
    scan: Scan, slicing: VolumesConfig, opened: _Opened, *, certain: bool
) -> Iterator[tuple[Volume, int | None]]:
    """Yield the volumes of a scan, each with its number along a fourth axis."""
    whole = load_volume(scan.files[0]) if len(scan.files) == 1 and not scan.planes else None
    if whole is not None:
        stored = whole.values.dtype
        bits = 8 if stored.names else stored.itemsize * 8 if stored.kind in "iu" else None
        opened.facts = Facts(bits=bits, orientation=whole.codes)
        for number in numbers_of(whole, slicing):
            yield whole, number
        if whole.memory is not None:
            whole.memory.release()
    elif scan.planes:
        yield from _of_planes(scan, slicing, opened, certain=certain)
    else:
        yield from _of_frames(scan, slicing, opened, certain=certain)


def _of_planes(
    scan: Scan, slicing: VolumesConfig, opened: _Opened, *, certain: bool
) -> Iterator[tuple[Volume, int | None]]:
    if certain and scan.planes[0].position is None:
        raise NotAVolume(f"{scan.name}: does not say where its images lie, so that they may be of several volumes")
    volumes = split_repeats(scan.planes)
    require_planes(volumes[0])
    pixels: dict[tuple[Path, int], np.ndarray] = {}
    for path in scan.files:
        contents = _contents(path, slicing)
        opened.facts = opened.facts if pixels else contents.facts
        pixels |= {(path, index): frame.pixels for index, frame in enumerate(contents.frames)}
    for planes in volumes:
        missing = [plane.path for plane in planes if (plane.path, plane.index) not in pixels]
        if missing:
            raise DataError(f"{missing[0]}: has fewer frames than it declares; replace it")
        volume, regular = volume_of_planes(planes, [pixels[plane.path, plane.index] for plane in planes])
        opened.notices += [] if regular else [GAPS]
        opened.facts = Facts(opened.facts.bits, volume.codes, opened.facts.modality, opened.facts.notices)
        yield volume, 0


def _of_frames(
    scan: Scan, slicing: VolumesConfig, opened: _Opened, *, certain: bool
) -> Iterator[tuple[Volume, int | None]]:
    """Yield the volumes of arrays and of stacks of pictures, in which rows begin at the top as in any picture."""
    contents = [_contents(path, slicing) for path in scan.files]
    opened.facts = contents[0].facts
    if certain and (len(contents) > 1 or not opened.facts.volumes):
        raise NotAVolume(f"{scan.name}: holds images that may be single ones or the planes of a volume")
    if len({item.facts.bits for item in contents}) > 1:
        raise DataError(f"{scan.name}: its images are stored with different bit depths; store them alike")
    frames = (frame for item in contents for frame in _used(item, opened))
    for _, group in groupby(frames, lambda frame: frame.volume):
        planes = [frame.pixels for frame in group]
        if len({plane.shape for plane in planes}) > 1:
            raise DataError(f"{scan.name}: its images have different sizes; put each scan into a folder of its own")
        yield orient(np.stack([plane.T for plane in planes], axis=2), None, (1.0, 1.0, 1.0), rows_down=True), 0


def _used(contents: Contents, opened: _Opened) -> Iterator[Frame]:
    for frame in contents.frames:
        if frame.left_out:
            opened.left_out[frame.left_out] += 1
        else:
            yield frame


def _contents(path: Path, slicing: VolumesConfig) -> Contents:
    return read_contents(path, percentiles=AS_STORED, slicing=slicing.with_changes(square_pixels=False))
