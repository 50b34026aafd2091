"""Whose image a file is: by a table, by a pattern in its path, or by a DICOM file's hashed PatientID.

Not here: splitting by subject (splits.py).
"""

from collections.abc import Callable
from pathlib import Path

from deepssim.datasets.sources import subject_finder
from deepssim.datasets.tables import read_csv
from deepssim.errors import DataError
from deepssim.images.collection import Collection
from deepssim.images.dicom import is_dicom, patient_hash


def find_subjects(
    collection: Collection, root: Path, *, table: str | None, pattern: str | None, salt: bytes
) -> list[str]:
    """Return the subject of every image of a folder.

    Args:
        collection: of the folder.
        root: the folder.
        table: CSV with `image_path` (relative to the CSV or to the folder) and `subject`; it decides alone if named.
        pattern: regular expression with one group, searched in the path below the folder.
        salt: of hashes of DICOM patient ids.

    Raises:
        DataError: if the table lacks an image, or the pattern does not fit a path.
    """
    if table is not None:
        return _by_table(collection, root, Path(table))
    find = subject_finder(pattern, "audit.subject_pattern") if pattern is not None else None
    of_file: dict[Path, str | None] = {}
    for path in dict.fromkeys(collection.files):
        relative = path.relative_to(root).as_posix()
        if find is not None:
            of_file[path] = find(relative, relative)
        else:
            of_file[path] = patient_hash(path, salt) if is_dicom(path) else _of_volume(path, relative)
    # An image whose patient nobody names is a patient of its own.
    return [of_file[path] or key for path, key in zip(collection.files, collection.pack.keys, strict=True)]


def _of_volume(path: Path, relative: str) -> str | None:
    """The slices of a volume are of one patient; nothing is known of a single image."""
    return relative if path.name.lower().endswith((".nii", ".nii.gz")) else None


def _by_table(collection: Collection, root: Path, csv: Path) -> list[str]:
    rows = read_csv(csv, needs=("image_path", "subject"))
    subject_of: dict[Path, str] = {}
    for name, subject in zip(rows["image_path"], rows["subject"], strict=True):
        for place in (csv.parent, root):
            subject_of[(place / name).resolve()] = str(subject)
    find: Callable[[Path], str | None] = lambda path: subject_of.get(path.resolve())  # noqa: E731
    subjects = [find(path) for path in collection.files]
    absent = [key for key, subject in zip(collection.pack.keys, subjects, strict=True) if subject is None]
    if absent:
        raise DataError(
            f"{csv}: names no subject for {len(absent)} of {len(subjects)} images of {root}, first {absent[0]!r}; add rows "
            "with image_path (relative to the CSV or to the folder) and subject"
        )
    return [str(subject) for subject in subjects]
