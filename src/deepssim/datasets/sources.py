"""Where real images come from: one function per `dataset.kind`, each giving the same kind of records.

Not here: decoding (images/reading.py), splitting and writing (prepare.py).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from deepssim.choices import Axis, Contrast, DatasetKind
from deepssim.config import DatasetConfig
from deepssim.datasets import virtual_patients
from deepssim.datasets.tables import CAPTION_COLUMN, Split, read_csv
from deepssim.errors import ConfigError, DataError
from deepssim.images.keys import REAL_NAME
from deepssim.images.reading import IMAGE_SUFFIXES, VOLUME_SUFFIXES, read_image, read_volume

Covariates = dict[str, float | str]


@dataclass(frozen=True)
class Slice:
    """One 2D image: its uid, pixels as float32 (H, W), 0 to 1, and what else is known of it."""

    image_uid: str
    pixels: np.ndarray
    covariates: Covariates = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A file, or a virtual patient, that gives one or more images of one subject.

    Attributes:
        path: of the file; empty if there is none.
        subject: whose images they are.
        read: decodes the images; raises DataError naming the file.
        split: given by the user, or None to be drawn.
    """

    path: str
    subject: str
    read: Callable[[], list[Slice]]
    split: Split | None = None


def find_sources(options: DatasetConfig, seed: int) -> list[Source]:
    """Return the sources of a dataset in a fixed order.

    Raises:
        DataError: if there are none, or a table is not usable.
        ConfigError: if `subject_pattern` is not usable.
    """
    return _FINDERS[options.kind](options, seed)


def _virtual_patients(options: DatasetConfig, seed: int) -> list[Source]:
    def read(number: int) -> list[Slice]:
        population = options.virtual_patients
        patient = virtual_patients.make_patient(number, population, seed)
        size = options.image_size
        if size is None:
            raise ConfigError(
                "dataset.image_size is null, but virtual patients need a size; set it, for example [64, 64]"
            )
        slices = []
        contrasts = population.contrasts
        if not population.all_contrasts:
            contrasts = (contrasts[number % len(contrasts)],)
        for contrast in contrasts:
            for z_mm in population.slices_mm:
                pixels, shares = virtual_patients.scan(patient, contrast, z_mm, (size[0], size[1]), population.noise)
                covariates = {
                    "sequence": contrast.value,
                    "z_mm": z_mm,
                    "age": round(patient.age, 1),
                    "sex": patient.sex,
                    "age_norm": round(patient.age / 100, 3),
                    "sex_norm": patient.sex,
                    "sequence_norm": list(Contrast).index(contrast),
                }
                uid = f"{patient.name}_{contrast.value}_z{z_mm:+g}"
                slices.append(
                    Slice(uid, pixels, covariates | {name: round(value, 4) for name, value in shares.items()})
                )
        return slices

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


def _folder(options: DatasetConfig, seed: int) -> list[Source]:
    root = Path(str(options.path))
    subject_of = subject_finder(options.subject_pattern)

    def source(path: Path) -> Source:
        relative = path.relative_to(root)
        stem = relative.with_suffix("").as_posix()
        # In a tree of the reference code the folder names the record and `training` is the real image in it.
        uid = stem.removesuffix(f"/{REAL_NAME}").replace("/", "_")
        return Source(str(path), subject_of(relative.as_posix(), uid), lambda: [_slice_of(path, uid, options)])

    return [source(path) for path in _files(root, options.file_patterns, IMAGE_SUFFIXES)]


def _table(options: DatasetConfig, seed: int) -> list[Source]:
    csv = Path(str(options.path))
    table = read_csv(csv, needs=("image_uid", "image_path"))
    if table.empty:
        raise DataError(f"{csv}: has no rows; list at least one image")
    splits = table["split"] if "split" in table else pd.Series([None] * len(table), dtype=object)
    allowed = [Split.TRAIN.value, Split.VALID.value, Split.HOLDOUT.value]
    wrong = [row for row, split in enumerate(splits) if "split" in table and split not in allowed]
    if wrong:
        raise DataError(
            f"{csv}: column 'split' has {len(wrong)} of {len(table)} entries that are not one of {', '.join(allowed)}, "
            f"first {splits[wrong[0]]!r} in line {wrong[0] + 2}"
        )
    subject_of = subject_finder(options.subject_pattern)
    extra = [
        name
        for name in table.columns
        if name not in ("image_uid", "image_path", "split", "subject", "key", "path", "role")
    ]
    sources = []
    for row, split in zip(table.to_dict("records"), splits, strict=True):
        uid = str(row["image_uid"])
        subject = str(row["subject"]) if "subject" in row else subject_of(str(row["image_path"]), uid)
        path = csv.parent / str(row["image_path"])
        covariates = {str(name): row[name] for name in extra}
        if CAPTION_COLUMN in covariates:
            covariates[CAPTION_COLUMN] = str(csv.parent / str(covariates[CAPTION_COLUMN]))
        read = lambda path=path, uid=uid, covariates=covariates: [_slice_of(path, uid, options, covariates)]  # noqa: E731
        sources.append(Source(str(path), subject, read, Split(split) if split else None))
    return sources


def _volumes(options: DatasetConfig, seed: int) -> list[Source]:
    root = Path(str(options.path))
    subject_of = subject_finder(options.subject_pattern)

    def source(path: Path) -> Source:
        relative = path.relative_to(root).as_posix()
        uid = re.sub(r"\.nii(\.gz)?$", "", relative).replace("/", "_")
        return Source(str(path), subject_of(relative, uid), lambda: _slices_of(path, uid, options))

    return [source(path) for path in _files(root, options.file_patterns, VOLUME_SUFFIXES)]


_FINDERS: dict[DatasetKind, Callable[[DatasetConfig, int], list[Source]]] = {
    DatasetKind.VIRTUAL_PATIENTS: _virtual_patients,
    DatasetKind.FOLDER: _folder,
    DatasetKind.TABLE: _table,
    DatasetKind.VOLUMES: _volumes,
}


def _files(root: Path, patterns: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder; set dataset.path to the folder with the images")
    files = sorted(
        path
        for path in {path for pattern in patterns for path in root.glob(pattern)}
        if path.is_file() and path.name.lower().endswith(tuple(suffixes)) and not path.name.startswith(".")
    )
    if not files:
        raise DataError(
            f"{root}: has no file that matches {' or '.join(patterns)} and ends in {', '.join(suffixes)}; "
            "check dataset.path and dataset.file_patterns"
        )
    return files


def subject_finder(pattern: str | None, setting: str = "dataset.subject_pattern") -> Callable[[str, str], str]:
    """Return a function that finds the subject in a relative path; without a pattern every image is its own subject.

    `setting` is where the pattern is from, for messages.
    """
    if pattern is None:
        return lambda path, uid: uid
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{setting} {pattern!r} is not a regular expression ({error})") from None
    if expression.groups != 1:
        raise ConfigError(
            f"{setting} {pattern!r} has {expression.groups} groups; put one pair of brackets around the subject"
        )

    def find(path: str, uid: str) -> str:
        match = expression.search(path)
        if not match or not match[1]:
            raise DataError(f"{path}: no subject found by {setting} {pattern!r}; change the pattern or the name")
        return match[1]

    return find


def _slice_of(path: Path, uid: str, options: DatasetConfig, covariates: Covariates | None = None) -> Slice:
    return Slice(uid, read_image(path, percentiles=options.intensity_percentiles), covariates or {})


def _slices_of(path: Path, uid: str, options: DatasetConfig) -> list[Slice]:
    """Cut a volume; anterior or superior is up, as radiologists look at it but with the right side on the right."""
    chosen = options.volumes
    volume = read_volume(path, percentiles=options.intensity_percentiles)
    axis = list(Axis).index(chosen.axis)
    count = volume.shape[axis]
    last = count - 1 if chosen.last_slice is None else chosen.last_slice
    if not chosen.first_slice <= last < count:
        raise DataError(
            f"{path}: slices {chosen.first_slice} to {last} are asked for, but {chosen.axis.value} slices go from 0 to "
            f"{count - 1}; change dataset.volumes.first_slice and last_slice"
        )
    slices = []
    for index in range(chosen.first_slice, last + 1, chosen.step):
        pixels = np.ascontiguousarray(np.take(volume, index, axis=axis).T[::-1])
        if np.count_nonzero(pixels) >= chosen.min_foreground * pixels.size:
            slices.append(Slice(f"{uid}_{chosen.axis.value}-{index:03d}", pixels, {"slice": index}))
    return slices
