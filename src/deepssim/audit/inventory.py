"""Which images an audit has: every file of every folder accounted for, its images read, their subjects found.

Not here: listing and reading files (images/), how a subject is found (subjects.py), what is wrong with the data
(preflight.py, comparability.py).
"""

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepssim.audit.cache import AuditCache
from deepssim.audit.memory import require_memory
from deepssim.audit.reading import Reading, find_unit, reading_of
from deepssim.audit.refusals import require_different_files, require_different_folders, require_several_in_names
from deepssim.audit.subjects import find_subjects, numbered, require_subjects, volumes_of
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import AuditUnit
from deepssim.errors import ConfigError, DataError, NotAnImage, NotAVolume
from deepssim.images.folders import Collection, Decoded, TreeSide, collect, of_side
from deepssim.images.frames import NOT_READ
from deepssim.images.listing import Entry, Status, list_folder
from deepssim.images.scans import Scan

logger = logging.getLogger(__name__)

SIDES = ("real", "synthetic", "holdout")


@dataclass(frozen=True)
class Inventory:
    """The files of one folder and their images.

    Attributes:
        root: the folder.
        entries: every file below it, with what became of it.
        collection: the images that were read.
        unit: image or volume.
    """

    root: Path
    entries: list[Entry]
    collection: Collection
    unit: AuditUnit = AuditUnit.IMAGE

    @property
    def unread(self) -> list[Entry]:
        """Files that could hold an image and were not read."""
        return [entry for entry in self.entries if entry.status is Status.NOT_READ]

    @property
    def unread_parts(self) -> dict[str, int]:
        """Number of parts that were not read of files that otherwise were, by reason."""
        found = self.collection.left_out.items()
        return {text.removeprefix(NOT_READ): count for text, count in found if text.startswith(NOT_READ)}

    def counts(self, *, hide: bool = False) -> list[tuple[Status, str, int]]:
        """Return the number of files by status and reason, those that were read first.

        Args:
            hide: leave out reasons that can quote names, see `without_names`.
        """
        found = Counter((entry.status, without_names(entry) if hide else entry.reason) for entry in self.entries)
        order = list(Status)
        return sorted(
            ((status, reason, count) for (status, reason), count in found.items()),
            key=lambda row: (order.index(row[0]), -row[2], row[1]),
        )


def without_names(entry: Entry) -> str:
    """Return the reason of an entry for a de-identified report: messages of readers can quote names of files and contents."""
    return "see the log" if entry.status is Status.NOT_READ else entry.reason


def parts_in_words(count: int) -> str:
    """Return `1 part`, `2 parts` and so on."""
    return f"{count:,} {'part' if count == 1 else 'parts'}"


def folders_of(options: AuditConfig) -> dict[str, Path]:
    """Return the folders that section `audit` names, by side.

    Raises:
        ConfigError: if the real or the synthetic one is not named.
    """
    if options.real is None or options.synthetic is None:
        raise ConfigError("audit.real and audit.synthetic must name the folders of training and synthetic images")
    named = {name: getattr(options, name) for name in SIDES}
    return {name: Path(path) for name, path in named.items() if path is not None}


def take_inventory(
    folders: Mapping[str, Path], store: AuditCache, options: AuditConfig, threads: int
) -> dict[str, Inventory]:
    """List the files of all folders and read their images, or take from the cache what is known.

    Args:
        folders: by side.
        store: cache.
        options: section `audit`.
        threads: files decoded at a time.

    Raises:
        DataError: if a folder has no image that can be read, or one file belongs to two sides.
    """
    require_different_folders(folders)
    entries = {name: _list(root, name, options) for name, root in folders.items()}
    require_apart(folders, entries)
    for name in [name for name in folders if name != "synthetic"]:
        files = [entry.path for entry in entries[name] if entry.status is Status.READ]
        require_subjects(files, folders[name], table=options.subjects, pattern=options.subject_pattern)
    require_several_in_names(folders, entries, options.subject_pattern)
    require_different_files(folders, entries, threads)
    require_memory(sum(entry.status is Status.READ for entry in entries["synthetic"]), options)
    listed = {name: [entry.path for entry in found if entry.status is Status.READ] for name, found in entries.items()}
    unit = find_unit(listed, options)
    try:
        return _read_all(folders, entries, store, options.with_changes(unit=unit), threads)
    except NotAVolume as error:  # only where the unit was left open
        logger.info("images are compared, not volumes, since %s", error)
        return _read_all(folders, entries, store, options.with_changes(unit=AuditUnit.IMAGE), threads)


def _read_all(
    folders: Mapping[str, Path],
    entries: Mapping[str, list[Entry]],
    store: AuditCache,
    options: AuditConfig,
    threads: int,
) -> dict[str, Inventory]:
    return {name: _read(name, root, entries[name], store, options, threads) for name, root in folders.items()}


def require_apart(folders: Mapping[str, Path], entries: Mapping[str, Sequence[Entry]]) -> None:
    """Check that no file belongs to two sides, as when one folder lies inside another one.

    Args:
        folders: by side.
        entries: their files.

    Raises:
        DataError: naming the two folders, the number of common files and the first.
    """
    files = {
        name: {os.path.realpath(entry.path): entry for entry in found if entry.status is Status.READ}
        for name, found in entries.items()
    }
    for number, first in enumerate(folders):
        for second in list(folders)[number + 1 :]:
            common = sorted(files[first].keys() & files[second].keys())
            if common:
                raise DataError(
                    f"{folders[second]} ({second}) and {folders[first]} ({first}) have {len(common):,} files in common, "
                    f"first {files[second][common[0]].name}; name folders that do not contain each other, or leave the "
                    "common files out with --exclude"
                )


def find_subjects_of(inventory: Inventory, name: str, store: AuditCache, options: AuditConfig) -> list[str]:
    """Return the subject of every image of one side; of synthetic images the volume, or the image itself.

    Args:
        inventory: images of the side.
        name: of the side.
        store: cache, which keeps the salt of hashes.
        options: section `audit`.
    """
    if name == "synthetic":
        return volumes_of(inventory.collection)
    found = find_subjects(
        inventory.collection, inventory.root, table=options.subjects, pattern=options.subject_pattern, salt=store.salt()
    )
    if name == "holdout" and options.subjects is None and options.subject_pattern is None:
        # Both folders may count their files from 0 on; the same number is then not the same patient.
        return [f"{name}/{subject}" if numbered(subject) else subject for subject in found]
    return found


def _list(root: Path, name: str, options: AuditConfig) -> list[Entry]:
    try:
        found = list_folder(root, include=options.include, exclude=options.exclude)
    except DataError as error:
        raise DataError(f"{error}; name a folder with images") from None
    entries = of_side(found, TreeSide.SYNTHETIC if name == "synthetic" else TreeSide.REAL)
    if not any(entry.status is Status.READ for entry in entries):
        raise DataError(_nothing(root, entries))
    return entries


def _nothing(root: Path, entries: Sequence[Entry]) -> str:
    """Say that a folder has no image, and what it has instead."""
    if not entries:
        return f"{root}: is empty; name a folder with images"
    unread = [entry for entry in entries if entry.status is Status.NOT_READ]
    first = (unread or list(entries))[0]
    if unread:
        why = f"{len(unread)} of its {len(entries)} files could not be read and the others are left out"
    else:
        why = f"its {len(entries)} files are left out"
    return (
        f"{root}: has no image that can be read; {why}, first {first.name} ({first.reason}); name a folder with images"
    )


def _read(
    name: str, root: Path, entries: list[Entry], store: AuditCache, options: AuditConfig, threads: int
) -> Inventory:
    reading = reading_of(options)
    scans = reading.group([entry.path for entry in entries if entry.status is Status.READ])
    decoded = store.decoded(scans, reading.kind, reading.decode, threads=threads)
    content = [(scan, item) for scan, item in zip(scans, decoded, strict=True) if isinstance(item, Decoded)]
    failed = [(scan, item) for scan, item in zip(scans, decoded, strict=True) if isinstance(item, DataError)]
    if options.unit is AuditUnit.AUTO:
        _require_volumes([error for _, error in failed])
    failures = {path: (scan, error) for scan, error in failed for path in scan.files}
    entries = [_failed(entry, *failures[entry.path]) if entry.path in failures else entry for entry in entries]
    if not content:
        raise DataError(_nothing(root, entries))
    collection = collect(
        root,
        [scan.files[0] for scan, _ in content],
        [item for _, item in content],
        names=[scan.name for scan, _ in content],
        scans=[scan.files for scan, _ in content] if reading.unit is AuditUnit.VOLUME else (),
    )
    if name == "synthetic":
        require_memory(len(collection.pack.keys), options)  # files may hold many
    inventory = Inventory(root, entries, collection, reading.unit)
    _log(name, inventory, reading)
    return inventory


def _require_volumes(errors: Sequence[DataError]) -> None:
    """Raise the first error of files that hold images and no volumes."""
    for error in errors:
        if isinstance(error, NotAVolume):
            raise error


def _failed(entry: Entry, scan: Scan, error: DataError) -> Entry:
    """Return the entry of a file that was not read, be it that another file of its scan could not be."""
    status = Status.LEFT_OUT if isinstance(error, NotAnImage) else Status.NOT_READ
    reason = str(error).removeprefix(f"{entry.path}: ").removeprefix(f"{scan.name}: ")
    reason = reason.removeprefix(f"{entry.path.parent}{os.sep}")  # of another file of the scan
    return dataclasses.replace(entry, status=status, reason=reason)


def _log(name: str, inventory: Inventory, reading: Reading) -> None:
    collection = inventory.collection
    logger.info(
        "%s: %d %ss of %s %s, resized to %s", name, len(collection.pack.keys), reading.unit.value,
        ", ".join(f"{size} ({count})" for size, count in sorted(collection.sizes.items())[:5]),
        "voxels" if reading.unit is AuditUnit.VOLUME else "pixels", reading.shape,
    )  # fmt: skip
    for status, reason, count in inventory.counts():
        level = logging.WARNING if status is Status.NOT_READ else logging.INFO
        logger.log(level, "%s: files %s: %d%s", name, status.value, count, f" ({reason})" if reason else "")
    for reason, count in collection.left_out.items():
        logger.info("%s: further images in these files that are left out: %d (%s)", name, count, reason)
    for notice, count in collection.stored.get("notice", {}).items():
        logger.info("%s: files with a notice: %d (%s)", name, count, notice)
