"""Where real images come from: one function per `dataset.kind`, each giving the same kind of records.

Not here: reading files (images/files.py), whose images they are (subjects.py), splitting and writing (prepare.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepssim.config.choices import Contrast, DatasetKind, Orientation
from deepssim.config.dataset import DatasetConfig
from deepssim.datasets import virtual_patients
from deepssim.datasets.subjects import NamedFile, find_subjects
from deepssim.datasets.tables import CAPTION_COLUMN, Split, locate_files, read_csv, require_filled
from deepssim.datasets.virtual_patients import Patient
from deepssim.errors import DataError, NotAnImage, NotAVolume
from deepssim.images.files import FORMATS, format_of, read_contents, stem_of
from deepssim.images.folders import TreeSide, list_files
from deepssim.images.keys import REAL_NAME
from deepssim.images.listing import path_below, printable
from deepssim.images.scans import Scan, decode_scan, find_scans

Covariates = dict[str, float | str]
_TABLE_COLUMNS = ("image_uid", "image_path", "split", "subject", "key", "path", "role")  # the others are covariates


@dataclass(frozen=True)
class Record:
    """One image: its uid, pixels as float32 (H, W), or (D, H, W) of a volume, 0 to 1, and covariates."""

    image_uid: str
    pixels: np.ndarray
    covariates: Covariates = field(default_factory=dict)


class FileContent(NamedTuple):
    """The images of a file, and what its reader assumed, changed or left out: one phrase each, repeated for each image."""

    records: list[Record]
    remarks: list[str]


@dataclass(frozen=True)
class Source:
    """A file, or a virtual patient, with one or more images of one subject.

    Attributes:
        path: of the file; empty if there is none.
        subject: whose images they are.
        read: decodes the images; raises DataError naming the file.
        split: given by the user, or None to be drawn.
    """

    path: str
    subject: str
    read: Callable[[], FileContent]
    split: Split | None = None


def find_sources(
    options: DatasetConfig,
    seed: int,
    threads: int = 1,
    *,
    side: TreeSide = TreeSide.REAL,
    other_splits: Split | None = None,
) -> list[Source]:
    """Return the sources of a dataset in a fixed order.

    Args:
        options: section `dataset`.
        seed: the config's seed, for virtual patients.
        threads: files read at a time to find their subjects.
        side: of a folder that is a reference tree, the images to use.
        other_splits: split of the rows of a table that name another than train, valid or holdout; None refuses them.

    Raises:
        DataError: if there are none, or a table or file is not usable.
        ConfigError: if a setting is not usable.
    """
    if options.kind is DatasetKind.VIRTUAL_PATIENTS:
        return _virtual_patients(options, seed)
    if options.kind is DatasetKind.TABLE:
        return _table(options, threads, other_splits)
    return _folder(options, threads, side)


def _virtual_patients(options: DatasetConfig, seed: int) -> list[Source]:
    scans = _volumes_of if options.spatial_dims == 3 else _slices_of

    def read(number: int) -> FileContent:
        population = options.virtual_patients
        patient = virtual_patients.make_patient(number, population, seed)
        contrasts = population.contrasts
        if not population.all_contrasts:
            contrasts = (contrasts[number % len(contrasts)],)
        return FileContent([record for contrast in contrasts for record in scans(patient, contrast, options)], [])

    population = options.virtual_patients
    splits = (
        [Split.TRAIN] * population.train_patients
        + [Split.VALID] * population.valid_patients
        + [Split.HOLDOUT] * population.holdout_patients
    )
    return [
        Source("", f"patient-{number:03d}", lambda number=number: read(number), split)  # type: ignore[misc]
        for number, split in enumerate(splits)
    ]


def _slices_of(patient: Patient, contrast: Contrast, options: DatasetConfig) -> Iterator[Record]:
    size = options.image_size
    assert size is not None  # the settings say so
    # Scanned as they are seen, whatever orientation they are then brought to.
    height, width = size if options.orientation is Orientation.UPRIGHT else size[::-1]
    population = options.virtual_patients
    for z_mm in population.slices_mm:
        pixels, fractions = virtual_patients.scan(patient, contrast, z_mm, (height, width), population.noise)
        covariates: Covariates = {"sequence": contrast.value, "z_mm": z_mm}
        covariates |= _covariates_of(patient, patient.age, contrast, fractions)
        yield Record(f"{patient.name}_{contrast.value}_z{z_mm:+g}", pixels, covariates)


def _volumes_of(patient: Patient, contrast: Contrast, options: DatasetConfig) -> Iterator[Record]:
    assert options.image_size is not None
    depth, height, width = options.image_size
    population = options.virtual_patients
    for visit in range(population.visits):
        volume = virtual_patients.make_virtual_volume(
            patient, contrast, (depth, height, width), visit=visit, noise=population.noise, movement=population.movement
        )
        covariates: Covariates = {"sequence": contrast.value, "visit": visit}
        covariates |= _covariates_of(patient, volume.age, contrast, volume.fractions)
        yield Record(f"{patient.name}_{contrast.value}_visit{visit}", volume.values, covariates)


def _covariates_of(patient: Patient, age: float, contrast: Contrast, fractions: dict[str, float]) -> Covariates:
    covariates: Covariates = {
        "age": round(age, 1),
        "sex": patient.sex,
        "age_norm": round(age / 100, 3),
        "sex_norm": patient.sex,
        "sequence_norm": list(Contrast).index(contrast),
    }
    return covariates | {name: round(value, 4) for name, value in fractions.items()}


def _folder(options: DatasetConfig, threads: int, side: TreeSide) -> list[Source]:
    """Return the image files of a folder; those that hold volumes if the kind is `volumes`."""
    root = Path(str(options.path))
    files = list_files(
        root,
        patterns=options.file_patterns,
        side=side,
        formats=[known for known in FORMATS if known.volume] if options.kind is DatasetKind.VOLUMES else FORMATS,
        advice="check dataset.path and dataset.file_patterns",
    )
    scans = find_scans(files) if options.spatial_dims == 3 else [Scan((path,), path) for path in files]
    named = []
    for scan in scans:
        path = scan.name
        relative = path_below(root, path)
        stem = relative.removesuffix(path.name) + (stem_of(path) if path in scan.files else path.name)
        # In a tree of the reference code the folder names the record and `training` is the real image in it.
        named.append(NamedFile(scan.files[0], relative, stem.removesuffix(f"/{REAL_NAME}").replace("/", "_")))
    subjects = _subjects(named, options, str(root), threads)
    return [
        Source(
            printable(str(scan.name)), subject, lambda scan=scan, file=file: _records_of_folder(scan, file.name, options)  # type: ignore[misc]
        )
        for scan, file, subject in zip(scans, named, subjects, strict=True)
    ]  # fmt: skip


def _table(options: DatasetConfig, threads: int, other_splits: Split | None) -> list[Source]:
    """Return the files that the rows of a CSV file name."""
    csv = Path(str(options.path))
    table = read_csv(csv, needs=("image_uid", "image_path"))
    if table.empty:
        raise DataError(f"{csv}: has no rows; list at least one image")
    splits = _splits_of(table, csv, other_splits)
    uids, names = table["image_uid"].map(str).tolist(), table["image_path"].map(str).tolist()
    paths = locate_files(names, csv)
    if "subject" in table:
        require_filled(table, "subject", csv)
        subjects = table["subject"].map(str).tolist()
    else:
        # Rows that name the same volume are images of one subject.
        named = [
            NamedFile(path, name, name if (known := format_of(path)) and known.volume else uid)
            for path, name, uid in zip(paths, names, uids, strict=True)
        ]
        subjects = _subjects(named, options, str(csv), threads)
    extra = [str(name) for name in table.columns if name not in _TABLE_COLUMNS]
    if CAPTION_COLUMN in table:  # looked at only where captions are read
        captions = locate_files(table[CAPTION_COLUMN].map(str).tolist(), csv, required=False)
        table[CAPTION_COLUMN] = [str(path) for path in captions]
    sources = []
    for row, uid, path, subject, split in zip(table.to_dict("records"), uids, paths, subjects, splits, strict=True):
        covariates = {name: row[name] for name in extra}
        read = lambda path=path, uid=uid, covariates=covariates: _records(  # noqa: E731
            find_scans([path])[0] if options.spatial_dims == 3 else Scan((path,), path), uid, options, covariates
        )
        sources.append(Source(str(path), subject, read, split))
    return sources


def _splits_of(table: pd.DataFrame, csv: Path, other: Split | None) -> list[Split] | list[None]:
    """Return the split of each row, if the table gives them."""
    if "split" not in table:
        return [None] * len(table)
    allowed = [Split.TRAIN.value, Split.VALID.value, Split.HOLDOUT.value]
    wrong = np.flatnonzero(~table["split"].isin(allowed))
    if wrong.size and other is None:
        raise DataError(
            f"{csv}: column 'split' has {wrong.size} of {len(table)} entries that are not one of {', '.join(allowed)}, "
            f"first {table['split'][wrong[0]]!r} in line {wrong[0] + 2}"
        )
    return [Split(split) if split in allowed else other or Split.HOLDOUT for split in table["split"]]


def _subjects(files: Sequence[NamedFile], options: DatasetConfig, place: str, threads: int) -> list[str]:
    return find_subjects(
        files,
        pattern=options.subject_pattern,
        setting="dataset.subject_pattern",
        salt=None,
        place=place,
        threads=threads,
    )


def _records_of_folder(scan: Scan, uid: str, options: DatasetConfig) -> FileContent:
    """Read the images of a file that nobody named; one that holds none by its nature, such as a DICOMDIR, is left out."""
    try:
        return _records(scan, uid, options, {})
    except NotAnImage as error:
        return FileContent([], [f"files left out ({str(error).removeprefix(f'{scan.name}: ')})"])


def _records(scan: Scan, uid: str, options: DatasetConfig, covariates: Covariates) -> FileContent:
    """Read the images of a file, or the volumes of a scan; several get the uid with their part added."""
    if options.spatial_dims == 3:
        return _records_of_volumes(scan, uid, options, covariates)
    contents = read_contents(scan.name, percentiles=options.intensity_percentiles, slicing=options.volumes)
    records, remarks = [], list(contents.facts.notices)
    for frame in contents.frames:
        if frame.left_out:
            remarks.append(f"images left out ({frame.left_out})")
            continue
        further: Covariates = {} if frame.slice_index is None else {"slice": frame.slice_index}
        records.append(Record(f"{uid}_{frame.part}" if frame.part else uid, frame.pixels, covariates | further))
    return FileContent(records, remarks)


def _records_of_volumes(scan: Scan, uid: str, options: DatasetConfig, covariates: Covariates) -> FileContent:
    try:
        decoded = decode_scan(
            scan, options.image_size, options.intensity_percentiles, options.volumes, bit_depth=options.bit_depth
        )
    except NotAVolume as error:
        reason = str(error).partition(";")[0]
        raise DataError(f"{reason}; remove it, or set dataset.spatial_dims to 2") from None
    maximum = np.float32(np.iinfo(decoded.images.dtype).max)
    records = [
        # Rows from anterior to posterior: each slice as the reader of images shows it.
        Record(f"{uid}_{part}" if part else uid, np.ascontiguousarray(volume[:, ::-1]) / maximum, covariates)
        for part, volume in zip(decoded.parts, decoded.images, strict=True)
    ]
    remarks = [f"images left out ({reason})" for reason, count in decoded.left_out.items() for _ in range(count)]
    return FileContent(records, [*decoded.facts.notices, *remarks])
