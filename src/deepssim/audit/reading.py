"""What an audit reads from files: images, or whole volumes; and which of the two, where the user leaves it open.

Not here: how they are read (images/), accounting for every file (inventory.py), how units are compared (engine.py).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepssim.config.audit import AuditConfig
from deepssim.config.base import as_settings
from deepssim.config.choices import AuditUnit
from deepssim.errors import DataError, NotAVolume
from deepssim.images.dicom_series import planes_of_file
from deepssim.images.files import format_of
from deepssim.images.folders import Decoded, decode
from deepssim.images.layouts import MIN_SIDE
from deepssim.images.rasters import RASTER_SUFFIXES
from deepssim.images.scans import Scan, decode_scan, find_scans
from deepssim.images.standardize import Geometry
from deepssim.runtime.stage_versions import STAGE_VERSIONS

# An affine map takes back what squashing did; padding would add edges that all images share.
_GEOMETRY = Geometry.SQUASH


@dataclass(frozen=True)
class Reading:
    """How files become the units of an audit.

    Attributes:
        unit: image or volume.
        side: pixels or voxels along each axis.
        kind: plain values that decide the result beside the content of the files.
        group: returns which files belong together.
        decode: reads the images or volumes of files that belong together.
    """

    unit: AuditUnit
    side: int
    kind: Sequence[object]
    group: Callable[[Sequence[Path]], list[Scan]]
    decode: Callable[[Scan], Decoded]

    @property
    def shape(self) -> str:
        """The size to which everything is brought, in words."""
        return "x".join([str(self.side)] * (3 if self.unit is AuditUnit.VOLUME else 2))


def reading_of(options: AuditConfig) -> Reading:
    """Return how the files of an audit are read.

    Args:
        options: section `audit`; a unit that is left open reads only what certainly is a volume.
    """
    slicing, percentiles = options.volumes, options.intensity_percentiles
    version = STAGE_VERSIONS["prepare_dataset"]
    if options.unit is AuditUnit.IMAGE:
        side = options.compared_at
        return Reading(
            AuditUnit.IMAGE, side,
            [version, [side, side], list(percentiles), as_settings(slicing), _GEOMETRY.value],
            lambda files: [Scan((path,), path) for path in files],
            lambda scan: decode(scan.files[0], (side, side), percentiles, _GEOMETRY, slicing),
        )  # fmt: skip
    certain = options.unit is AuditUnit.AUTO
    return Reading(
        AuditUnit.VOLUME, options.volume_side,
        [version, "volumes", options.volume_side, list(percentiles), slicing.fourth_axis.value, slicing.dicom_window.value, certain],
        find_scans,
        lambda scan: decode_scan(scan, options.volume_side, percentiles, slicing, certain=certain),
    )  # fmt: skip


def find_unit(files: Mapping[str, Sequence[Path]], options: AuditConfig) -> AuditUnit:
    """Return what an audit compares, as far as the first file of each folder tells.

    Args:
        files: that may hold images or volumes, by side.
        options: section `audit`.

    Returns:
        The unit that the user named; otherwise image, or auto where all files may be volumes and have to be read to tell.
    """
    if options.unit is not AuditUnit.AUTO:
        return options.unit
    reading = reading_of(options)
    for paths in files.values():
        if any(_holds_images(path) for path in paths) or not _begins_with_volume(paths, reading):
            return AuditUnit.IMAGE
    return AuditUnit.AUTO


def volumes_among(files: Sequence[Path]) -> int:
    """Return how many volumes were cut into slices: files of a format of volumes with 8 slices or more, and DICOM series.

    Args:
        files: of each image of a side.
    """
    formats = {path: format_of(path) for path in dict.fromkeys(files)}
    slices = Counter(files)
    alone = sum(known is not None and known.volume and slices[path] >= MIN_SIDE for path, known in formats.items())
    dicom = [path for path, known in formats.items() if known is not None and known.read_patient is not None]
    series = [scan.planes for scan in find_scans(dicom) if len(scan.planes) >= MIN_SIDE]
    return alone + sum(planes[0].position is not None for planes in series)


def _holds_images(path: Path) -> bool:
    """Return whether a name is that of a picture, be it one of many slices."""
    return path.name.lower().endswith(RASTER_SUFFIXES)


def _begins_with_volume(paths: Sequence[Path], reading: Reading) -> bool:
    """Return whether the first file that can be read holds a volume; a single DICOM file tells that it may be part of one."""
    for path in paths:
        try:
            known = format_of(path)
            if known is not None and known.read_patient is not None:
                planes = planes_of_file(path)
                if planes:
                    return planes[0].position is not None
            elif known is not None:
                reading.decode(Scan((path,), path))
                return True
        except NotAVolume:
            return False
        except DataError:
            continue  # it is accounted for where all files are read
    return False
