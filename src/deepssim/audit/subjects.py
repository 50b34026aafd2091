"""The subject of every image of an audit: from a table, or found as for the workflow's datasets.

Not here: patterns and patients of DICOM files (datasets/subjects.py), splitting by subject (datasets/splits.py).
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from deepssim.datasets import subjects
from deepssim.datasets.metadata import FILE_COLUMNS, patient_column, read_table
from deepssim.datasets.tables import require_filled
from deepssim.errors import DataError, quoted
from deepssim.images.dicom import is_hashed_patient
from deepssim.images.files import format_of, stem_of
from deepssim.images.folders import Collection
from deepssim.images.listing import path_below

_PATTERN = "audit.subject_pattern"
_COLUMNS = ("image_path", "subject")
_VISIT = "visit"  # column that tells visits apart
# Words in names that count files; a letter or word that is not here could name a patient.
_COUNTING = {
    "img", "image", "images", "im", "slice", "slices", "sample", "samples", "frame", "gen", "generated", "fake", "real", "train",
    "test", "valid", "val", "holdout", "pic", "scan", "file", "data",
}  # fmt: skip


def find_subjects(
    collection: Collection, root: Path, *, table: str | None, pattern: str | None, salt: bytes
) -> list[str]:
    """Return the subject of every image of a folder; all images of a file have the same.

    Args:
        collection: images of the folder.
        root: the folder.
        table: CSV with `image_path` (relative to the CSV, to the folder or to the working directory) and `subject`; it alone
            decides if given.
        pattern: regular expression with one group around the subject, searched in the path below the folder; without one,
            the subject is the hashed PatientID of a DICOM file or that of a path of BIDS, and any other file is its own subject.
        salt: secret for hashing patient ids, the same for all folders of the audit.

    Raises:
        ConfigError: if the pattern is not usable.
        DataError: if the table lacks an image, or the pattern does not fit a path.
    """
    if table is not None:
        return _by_table(collection, root, Path(table))
    files = list(dict.fromkeys(collection.files))
    relative = [path_below(root, path) for path in files]
    names = _names(collection) if collection.scans else {}
    named = [subjects.NamedFile(path, name, names.get(path, name)) for path, name in zip(files, relative, strict=True)]
    found = subjects.find_subjects(named, pattern=pattern, setting=_PATTERN, salt=salt, place=str(root))
    of_file = dict(zip(files, found, strict=True))
    return [of_file[path] for path in collection.files]


def _names(collection: Collection) -> dict[Path, str]:
    """Return the name of each scan, that of its folder or of its file, by its first file."""
    return {
        path: re.sub(r"#volume-\d+$", "", key) for path, key in zip(collection.files, collection.pack.keys, strict=True)
    }


def numbered(name: str) -> bool:
    """Return whether a path below a folder only counts files, so that an equal one elsewhere is not the same patient.

    `00012.png` and `train/img_12.png` count; `patient12.png` and `IXI012/t1.nii.gz` may name a patient.
    """
    stem = str(PurePosixPath(name.lower()).with_name(stem_of(Path(name.lower()))))
    return all(word in _COUNTING for word in re.findall(r"[^\W\d_]+", stem))


def patients_found(found: Sequence[str]) -> bool:
    """Return whether all subjects are patients whom DICOM files or paths of BIDS name, and not mere names of files."""
    return bool(found) and all(subjects.is_patient(subject) for subject in found)


def identifier_findings(collections: Mapping[str, Collection], subjects: Mapping[str, Sequence[str]]) -> list[str]:
    """Say where the PatientID of DICOM files cannot tell patients apart.

    Args:
        collections, subjects: images and their subjects, by side, found without a table or pattern.

    Returns:
        Sentences.
    """
    without, known, total = 0, set(), 0
    for name, collection in collections.items():
        if name == "synthetic":
            continue
        of_file = dict(zip(collection.files, subjects[name], strict=True))
        for path, subject in of_file.items():
            kind = format_of(path)
            if kind is None or kind.read_patient is None:
                continue
            total += 1
            if is_hashed_patient(subject):
                known.add(subject)
            else:
                without += 1
    advice = "name the patients with --subjects or --subject-pattern if there are several"
    found = []
    if without:
        found.append(
            f"{without} of {total} DICOM files have no PatientID, and each counts as a subject of its own; {advice}"
        )
    if len(known) == 1 and total - without > 1:
        found.append(
            f"all {total - without} DICOM files with a PatientID have the same one, as after de-identification; {advice}"
        )
    return found


def require_subjects(files: Sequence[Path], root: Path, *, table: str | None, pattern: str | None) -> None:
    """Check, before any image is decoded, that a table or pattern fits the files of a folder at all.

    Whether it names the subject of every image is known once they are decoded: a file without images needs no subject.

    Args:
        files: that may hold images.
        root: the folder.
        table, pattern: see `find_subjects`.

    Raises:
        ConfigError: if the pattern is not usable.
        DataError: if it finds a subject for none of the files.
    """
    if table is not None:
        known = _subject_of_path(Path(table), root)
        if not any(comparable(place) in known for path in files for place in (path, path.parent)):
            raise DataError(_absent(Path(table), root, [path_below(root, path) for path in files], len(files)))
    elif pattern is not None:
        find = subjects.subject_finder(pattern, _PATTERN)
        relative = [path_below(root, path) for path in files]
        if not any(find(name) for name in relative):
            raise DataError(
                f"{root}: no subject found by {_PATTERN} {quoted(pattern)} in the paths of {len(files)} of {len(files)} files, "
                f"first {relative[0]}; change the pattern or the names"
            )


def require_columns(csv: Path, columns: Sequence[str], setting: str) -> None:
    """Check that a table of subjects has further columns; capital letters do not matter.

    Args:
        csv: the table.
        columns: names of them.
        setting: that names them, for messages.

    Raises:
        DataError: naming the first that it lacks.
    """
    table = read_subject_table(csv)
    absent = [name for name in columns if _called(table, name) is None]
    if absent:
        there = [str(name) for name in table.columns if name not in _COLUMNS]
        raise DataError(
            f"{csv}: has no column {quoted(absent[0])}, {len(absent)} of {len(columns)} that {setting} names; beside image_path and "
            f"subject it has {', '.join(map(quoted, there)) or 'none'}: correct the name in {setting}, or add the column"
        )


def columns_of(collection: Collection, root: Path, csv: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return what a table of subjects holds for every image of a folder, in further columns.

    Args:
        collection, root: images of the folder, and the folder.
        csv: the table.
        columns: names of those that are wanted; ones that the table lacks are left out.

    Returns:
        By name as asked for: the text of each image, empty where the table has none.

    Raises:
        DataError: if the table has two values for one image.
    """
    table = read_subject_table(csv, as_text=columns)
    found = {}
    for column in columns:
        name = _called(table, column)
        if name is not None:
            value_of = _by_path(
                csv, root, table["image_path"], table[name].fillna("").str.strip(), f"values of {column}"
            )
            found[column] = [value_of.get(comparable(path), "") for path in collection.files]
    return found


def visits_of(collection: Collection, root: Path, csv: str | None) -> list[str]:
    """Return the visit of every image of a folder: what a table says in column `visit`, or else its file.

    Args:
        collection, root: images of the folder, and the folder.
        csv: table of subjects, if there is one.
    """
    named = {} if csv is None else columns_of(collection, root, Path(csv), [_VISIT])
    files = [str(path) for path in collection.files]
    return [visit or path for visit, path in zip(named.get(_VISIT, files), files, strict=True)]


def _called(table: pd.DataFrame, column: str) -> str | None:
    """Return the name of a column in a table, which may differ in capital letters; None if it is not there."""
    if column in table.columns:
        return column
    return next((str(name) for name in table.columns if str(name).strip().lower() == column.strip().lower()), None)


def _by_table(collection: Collection, root: Path, csv: Path) -> list[str]:
    subject_of = _subject_of_path(csv, root)
    found = [
        next((subject_of[name] for name in map(comparable, places) if name in subject_of), None)
        for places in places_of(collection)
    ]
    absent = [key for key, subject in zip(collection.pack.keys, found, strict=True) if subject is None]
    if absent:
        raise DataError(_absent(csv, root, absent, len(found)))
    return [str(subject) for subject in found]


def places_of(collection: Collection) -> list[tuple[Path, ...]]:
    """Return the paths by which a table may name each image: of a scan, any of its files, or their folder."""
    return [(*files, files[0].parent) if collection.scans and len(files) > 1 else files for files in collection.members]


def _absent(csv: Path, root: Path, absent: Sequence[str], count: int) -> str:
    return (
        f"{csv}: names no subject for {len(absent)} of {count} images of {root}, first {absent[0]!r}; add rows with image_path "
        "(relative to the CSV, to the folder or to the working directory) and subject"
    )


def read_subject_table(csv: Path, *, as_text: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table of subjects: columns `image_path`, or `path` as in the workflow's image tables, and `subject`.

    A `metadata.csv` or `metadata.jsonl` is such a table, too: with `file_name`, and one column that names patients.

    Args:
        csv: the table.
        as_text: further columns whose entries remain text.

    Returns:
        The table, with columns `image_path` and `subject`, whatever they are called in the file.

    Raises:
        DataError: if the file cannot be read, or lacks one of the columns or an entry in one.
    """
    columns = read_table(csv)
    there = {str(name).strip().lower() for name in columns.columns}
    file = next((name for name in FILE_COLUMNS if name in there), "image_path")
    subject = "subject" if "subject" in there else patient_column(columns, csv) or "subject"
    table = read_table(csv, needs=(file, subject), as_text=as_text)
    require_filled(table, file, csv)
    return table.rename(columns={file: "image_path", subject: "subject"})


def _subject_of_path(csv: Path, root: Path) -> dict[str, str]:
    rows = read_subject_table(csv)
    return _by_path(csv, root, rows["image_path"], rows["subject"].astype(str), "subjects")


def _by_path(csv: Path, root: Path, names: Sequence[str], values: Sequence[str], what: str) -> dict[str, str]:
    """Return the value of every path that a table can mean: beside it, below the folder and below the working directory."""
    value_of: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        for place in {csv.parent, root, Path()}:
            path = comparable(place / name.strip().replace("\\", "/"))
            if value_of.setdefault(path, value) != value:
                raise DataError(
                    f"{csv}: names two {what} for one image, {name!r}: {value_of[path]!r} and {value!r}; keep one of the rows"
                )
    return value_of


def comparable(path: Path) -> str:
    """Return an absolute path whose accented letters are composed; macOS and some archives store them decomposed."""
    return unicodedata.normalize("NFC", str(path.resolve()))


def volumes_of(collection: Collection) -> list[str]:
    """Return the file of every image that shares it with others, such as slices of a volume, or else the image's key.

    Volumes of an array are scans of their own; those of a file with a fourth axis are times or echoes of one.
    """
    count = Counter(collection.files)

    def together(path: Path) -> bool:
        return count[path] > 1 and (not collection.scans or ((known := format_of(path)) is not None and known.volume))

    return [
        str(path) if together(path) else key for path, key in zip(collection.files, collection.pack.keys, strict=True)
    ]
