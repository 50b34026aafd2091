"""Which DICOM files are the planes of one volume, and where each plane lies. Only headers are read here.

Not here: pixels, which the reader of single files gives (dicom.py), volumes in a common grid (grid.py).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, NotAVolume, readable
from deepssim.images.dicom_files import open_dataset
from deepssim.images.dicom_pixels import frame_item, pixel_spacing
from deepssim.images.layouts import MIN_SIDE
from deepssim.images.stored import LPS_TO_RAS, orient
from deepssim.images.volumes import Volume

_DIGITS = 3  # of a position in mm, by which planes are told apart
_GAP = 1.5  # of the usual distance of planes, from which some are missing
GAPS = "planes are missing or not equally spaced: taken as equally spaced"
_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber", "Rows", "Columns",
    "NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True)
class Plane:
    """One frame of a DICOM file in space.

    Attributes:
        path, index: the file, and which of its frames.
        series: what planes of one volume have in common.
        number: InstanceNumber, by which planes without position are ordered.
        position: of the first pixel, in mm, x to the left, y to posterior, z to superior; None if the file does not say.
        rows, columns: directions along a row and along a column, float64 (3,); None without position.
        spacing: distances of rows, of columns and, as far as a single plane says so, of planes.
    """

    path: Path
    index: int
    series: tuple[Any, ...]
    number: int
    position: np.ndarray | None
    rows: np.ndarray | None
    columns: np.ndarray | None
    spacing: tuple[float, float, float]

    @property
    def height(self) -> float:
        """Distance from the origin along the normal of the plane, in mm; the number without position."""
        if self.position is None or self.rows is None or self.columns is None:
            return float(self.number)
        return float(np.cross(self.rows, self.columns) @ self.position)


def planes_of_file(path: Path) -> list[Plane]:
    """Return the frames of a DICOM file; none if it holds no images.

    Args:
        path: of the file.

    Raises:
        DataError: if it is damaged.
    """
    with readable(path, "DICOM", "replace it"):
        data = open_dataset(path, stop_before_pixels=True, specific_tags=_TAGS)
        if not data.get("Rows"):
            return []
        count = int(data.get("NumberOfFrames") or 1)
        return [_plane(path, data, index, alone=count == 1) for index in range(count)]


def _plane(path: Path, data: Any, index: int, *, alone: bool) -> Plane:
    position = _numbers(
        frame_item(data, index, "PlanePositionSequence"), data if alone else None, "ImagePositionPatient", 3
    )
    turn = _numbers(frame_item(data, index, "PlaneOrientationSequence"), data, "ImageOrientationPatient", 6)
    if position is None or turn is None:
        position = turn = None
    shape = (int(data.Rows), int(data.Columns))
    directions = None if turn is None else tuple(np.round(turn, 2).tolist())
    series = (path.parent, None if alone else path, str(data.get("SeriesInstanceUID") or ""), shape, directions)
    between = data.get("SpacingBetweenSlices") or data.get("SliceThickness") or 1.0
    return Plane(
        path, index, series, index if not alone else int(data.get("InstanceNumber") or 0), position,
        None if turn is None else turn[:3], None if turn is None else turn[3:], (*pixel_spacing(data, index), abs(float(between)) or 1.0),
    )  # fmt: skip


def _numbers(first: Any, second: Any, name: str, count: int) -> np.ndarray | None:
    """Return the numbers of an element of the first data set that has it."""
    for source in (first, second):
        value = None if source is None else source.get(name)
        if value is not None and not isinstance(value, str) and len(value) == count:
            found = np.array([float(number) for number in value])
            if np.isfinite(found).all():
                return found
    return None


def grouped(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return planes by series, direction and size, each group in the order of its planes.

    Args:
        planes: of any number of files of a folder.
    """
    groups: dict[tuple[Any, ...], list[Plane]] = defaultdict(list)
    for plane in planes:
        groups[plane.series].append(plane)
    return [sorted(group, key=lambda plane: (plane.height, plane.number, plane.path)) for group in groups.values()]


def split_repeats(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return the volumes of a group whose places occur several times, as those of times or echoes do.

    Args:
        planes: of one group, in order.

    Raises:
        DataError: if not all places occur equally often, or nothing says which planes belong together.
    """
    # Without positions, numbers tell places, unless all files have the same one.
    numbered = planes[0].position is None
    if numbered and len({plane.number for plane in planes}) == 1:
        return [list(planes)]
    places = [round(plane.height, _DIGITS) for plane in planes]
    counts = Counter(places)
    times = min(counts.values())
    if max(counts.values()) != times:
        raise DataError(
            f"{planes[0].path}: {len(planes)} planes of its series lie at {len(counts)} places, which do not all occur equally often; "
            "give each volume a series or a folder of its own"
        )
    if times > 1:
        _require_told_apart(planes, places, times)
    volumes: list[list[Plane]] = [[] for _ in range(times)]
    seen: Counter[float] = Counter()
    for plane, place in zip(planes, places, strict=True):
        volumes[seen[place]].append(plane)
        seen[place] += 1
    return volumes


def _require_told_apart(planes: Sequence[Plane], places: Sequence[float], times: int) -> None:
    """Check that numbers, or else names without their last number, say which planes of equal places belong together.

    Raises:
        DataError: if only the order of names would, which mixes volumes whose files have names at random.
    """
    if len({(place, plane.number) for place, plane in zip(places, planes, strict=True)}) == len(planes):
        return
    names = Counter(re.sub(r"\d+(?=\D*$)", "", plane.path.name) for plane in planes)
    if len(names) != times or len(set(names.values())) > 1:
        raise DataError(
            f"{planes[0].path}: {times} planes of its series lie at each place and have the same InstanceNumber, so that nobody knows "
            "which belong together; give each volume a series or a folder of its own"
        )


def require_planes(planes: Sequence[Plane]) -> None:
    """Check that a group is a volume and not a few single images.

    Raises:
        NotAVolume: if it has fewer than 8 planes.
    """
    if len(planes) < MIN_SIDE:
        raise NotAVolume(
            f"{planes[0].path}: its series has {len(planes)} images of one size and direction, and a volume at least {MIN_SIDE}; "
            "leave it out with --exclude, or compare images (--unit image)"
        )


def volume_of_planes(planes: Sequence[Plane], pixels: Sequence[np.ndarray]) -> tuple[Volume, bool]:
    """Put the planes of a volume together.

    Args:
        planes: in order.
        pixels: of each, float32 (H, W), in the unit of the modality.

    Returns:
        The volume, oriented as far as positions are known, and whether planes are equally spaced.
    """
    values = np.stack([image.T for image in pixels], axis=2)  # along a row, along a column, across the planes
    first = planes[0]
    between_rows, between_columns, between = first.spacing
    if first.position is None or first.rows is None or first.columns is None:
        return orient(values, None, (between_columns, between_rows, between), rows_down=True), True
    steps = np.diff([plane.height for plane in planes])
    between = float(np.median(steps)) or 1.0
    affine = np.eye(4)
    normal = np.cross(first.rows, first.columns)
    for axis, (direction, step) in enumerate(
        ((first.rows, between_columns), (first.columns, between_rows), (normal, between))
    ):
        affine[:3, axis] = LPS_TO_RAS @ direction * step
    affine[:3, 3] = LPS_TO_RAS @ first.position
    regular = bool(steps.max() <= _GAP * between and steps.min() * _GAP >= between)
    return orient(values, affine, (between_columns, between_rows, between)), regular
