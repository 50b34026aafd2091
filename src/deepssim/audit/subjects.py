"""The subject of every image of an audit: from a table, or found as for the workflow's datasets.

Not here: patterns and patients of DICOM files (datasets/subjects.py), splitting by subject (datasets/splits.py).
"""

from collections import Counter
from pathlib import Path

from deepssim.datasets import subjects
from deepssim.datasets.tables import read_csv
from deepssim.errors import DataError
from deepssim.images.folders import Collection, path_below


def find_subjects(
    collection: Collection, root: Path, *, table: str | None, pattern: str | None, salt: bytes
) -> list[str]:
    """Return the subject of every image of a folder; all images of a file have the same.

    Args:
        collection: images of the folder.
        root: the folder.
        table: CSV with `image_path` (relative to the CSV or to the folder) and `subject`; it alone decides if given.
        pattern: regular expression with one group around the subject, searched in the path below the folder; without one,
            the subject is the hashed PatientID of a DICOM file, and any other file is its own subject.
        salt: secret for hashing patient ids, the same for all folders of the audit.

    Raises:
        ConfigError: if the pattern is not usable.
        DataError: if the table lacks an image, or the pattern does not fit a path.
    """
    if table is not None:
        return _by_table(collection, root, Path(table))
    files = list(dict.fromkeys(collection.files))
    relative = [path_below(root, path) for path in files]
    named = [subjects.NamedFile(path, name, name) for path, name in zip(files, relative, strict=True)]
    found = subjects.find_subjects(named, pattern=pattern, setting="audit.subject_pattern", salt=salt, place=str(root))
    of_file = dict(zip(files, found, strict=True))
    return [of_file[path] for path in collection.files]


def _by_table(collection: Collection, root: Path, csv: Path) -> list[str]:
    rows = read_csv(csv, needs=("image_path", "subject"))
    subject_of: dict[Path, str] = {}
    for name, subject in zip(rows["image_path"], rows["subject"], strict=True):
        for place in (csv.parent, root):
            subject_of[(place / name).resolve()] = str(subject)
    found = [subject_of.get(path.resolve()) for path in collection.files]
    absent = [key for key, subject in zip(collection.pack.keys, found, strict=True) if subject is None]
    if absent:
        raise DataError(
            f"{csv}: names no subject for {len(absent)} of {len(found)} images of {root}, first {absent[0]!r}; add rows "
            "with image_path (relative to the CSV or to the folder) and subject"
        )
    return [str(subject) for subject in found]


def volumes_of(collection: Collection) -> list[str]:
    """Return the file of every image that shares it with others, such as slices of a volume, or else the image's key."""
    count = Counter(collection.files)
    return [
        str(path) if count[path] > 1 else key for path, key in zip(collection.files, collection.pack.keys, strict=True)
    ]
