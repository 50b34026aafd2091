"""Which scan, and where in it: single synthetic images traced to slices of volumes.

Not here: whole volumes as units (volume_engine.py), what is a copy (leakage.py).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deepssim.audit.leakage import Copies
from deepssim.audit.preflight import Finding
from deepssim.audit.units import agree, counted
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import AuditUnit, Axis

_SLICE = re.compile(r"^(?P<scan>.*)#(?:volume-(?P<volume>\d+)-)?(?P<axis>sagittal|coronal|axial)-(?P<number>\d+)$")


class SlicePlace(NamedTuple):
    """Where an image lies in a scan.

    Attributes:
        scan: path of the file, with the number of its volume where it has several.
        axis: across which the slice lies.
        number: of the slice along it, from 0.
    """

    scan: str
    axis: str
    number: int


def place_of(key: str) -> SlicePlace | None:
    """Return where an image lies in a scan, by its key; None if it is no slice of a volume."""
    match = _SLICE.match(key)
    if match is None:
        return None
    volume = "" if match["volume"] is None else f"#volume-{match['volume']}"
    return SlicePlace(match["scan"] + volume, match["axis"], int(match["number"]))


def traced_to_scans(copies: Copies, keys: Sequence[str]) -> str:
    """Say to how many scans copies were traced.

    Args:
        copies: of the audit.
        keys: of the training images.

    Returns:
        One sentence; empty without copies, or if a training image is no slice of a volume.
    """
    places = [place_of(key) for key in keys]
    rows = np.flatnonzero(copies.flagged)
    if not len(rows) or any(place is None for place in places):
        return ""
    scans = {place.scan for place in places if place is not None}
    copied = {place.scan for row in copies.original[rows].tolist() if (place := places[row]) is not None}
    were = agree(len(rows), "The copy was", "These copies were")
    of = "the only training scan" if len(scans) == 1 else f"{len(copied):,} of {counted(len(scans), 'training scan')}"
    return f"{were} traced to slices of {of}; pairs.csv says to which."


def single_axis_findings(keys: Sequence[str], synthetic: Sequence[str], options: AuditConfig) -> list[Finding]:
    """Say that slices across other axes were not compared, where synthetic images are no slices of volumes themselves.

    Args:
        keys, synthetic: keys of the training and synthetic images.
        options: section `audit`.
    """
    if options.unit is AuditUnit.VOLUME or options.volumes.axis is Axis.ALL:
        return []
    axes = {place.axis for key in keys if (place := place_of(key)) is not None}
    if len(axes) != 1 or not any(place_of(key) is None for key in synthetic):
        return []
    message = (
        f"training scans were cut into {axes.pop()} slices only, so that copies of slices across other axes go unseen; set "
        "audit.volumes.axis to all to compare those, too"
    )
    return [Finding("slices across one axis", message, [], True)]
