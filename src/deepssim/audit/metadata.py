"""Patients whom metadata inside of the folders names: `metadata.csv` or `metadata.jsonl`, as in Hugging Face's `imagefolder`.

Nobody asked for these tables. They decide where they leave no doubt, and otherwise the audit goes on as without them, with a
reservation: images that are grouped wrongly hide copies.

Not here: tables that users name, patterns, DICOM and BIDS (subjects.py).
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepssim.audit.inventory import Inventory
from deepssim.audit.preflight import Finding
from deepssim.audit.subjects import comparable, patients_found, places_of
from deepssim.datasets.metadata import METADATA, patient_column, read_table
from deepssim.datasets.subjects import hash_named
from deepssim.errors import DataError
from deepssim.images.dicom import is_hashed_patient

logger = logging.getLogger(__name__)

NOT_USED = "metadata not used"  # kind of the finding
_FILE = "file_name"


def patients_by_metadata(
    inventories: Mapping[str, Inventory], subjects: Mapping[str, Sequence[str]], salt: bytes, *, hide: bool = False
) -> tuple[dict[str, list[str]], list[Finding]]:
    """Return the patients whom metadata names for all training and held-out images, or why it is not used.

    Args:
        inventories: by side.
        subjects: of all images by side, found without a table or pattern. Where DICOM files or folders of BIDS name patients,
            no metadata is read.
        salt: secret for hashing the names of patients.
        hide: leave files and folders out of findings; the log names them.

    Returns:
        Hashed names of the patient of each image, by side; empty unless metadata is used. Findings: why some is not.
    """
    sides = [name for name in ("real", "holdout") if name in inventories]
    everyone = [subject for name in sides for subject in subjects[name]]
    if patients_found(everyone) or any(is_hashed_patient(subject) for subject in everyone):
        return {}, []
    try:
        found = {name: _patients(inventories[name]) for name in sides}
        named = {name: item for name, item in found.items() if item is not None}
        if not named:
            return {}, []
        _require_all(named, inventories, sides)
    except DataError as error:
        logger.warning("%s", error)
        reason = "metadata of the folders leaves doubts, see the log" if hide else str(error)
        message = f"{reason}; patients are not taken from there: correct it, or name them with --subjects or --subject-pattern"
        return {}, [Finding(NOT_USED, message, [], True)]
    return {name: [hash_named(patient, salt) for patient in patients] for name, (_, patients) in named.items()}, []


def _patients(inventory: Inventory) -> tuple[str, list[str]] | None:
    """Return the column that names patients and the patient of each image of a side; None without such a column.

    Raises:
        DataError: if a file cannot be read, columns or rows contradict each other, or images are not named.
    """
    columns: dict[str, Path] = {}
    patient_of: dict[str, str] = {}
    for path in [entry.path for entry in inventory.entries if entry.path.name in METADATA]:
        table = read_table(path)
        there = {str(name).strip().lower() for name in table.columns}
        column = patient_column(table, path) if _FILE in there else None
        if column is None:
            continue
        columns[column] = path
        table = read_table(path, needs=(_FILE, column))
        for name, patient in zip(table[_FILE].str.strip(), table[column].str.strip(), strict=True):
            if not patient:
                raise DataError(f"{path}: column {column!r} is blank for {name!r}")
            place = comparable(path.parent / name)
            if patient_of.setdefault(place, patient) != patient:
                raise DataError(f"{path}: names two patients for one image, {name!r}")
    if not columns:
        return None
    if len(columns) > 1:
        names = " and ".join(f"{column!r} ({path})" for column, path in columns.items())
        raise DataError(f"{inventory.root}: its metadata names patients in different columns, {names}")
    column, path = next(iter(columns.items()))
    collection = inventory.collection
    found = [
        {patient_of[name] for name in map(comparable, places) if name in patient_of} for places in places_of(collection)
    ]
    wrong = [key for key, patients in zip(collection.pack.keys, found, strict=True) if len(patients) != 1]
    if wrong:
        raise DataError(
            f"{path}: does not name one patient for {len(wrong)} of {len(found)} images of {inventory.root}, first {wrong[0]!r}"
        )
    return column, [patient for patients in found for patient in patients]


def _require_all(
    named: Mapping[str, tuple[str, list[str]]], inventories: Mapping[str, Inventory], sides: Sequence[str]
) -> None:
    """Check that metadata of all sides names patients, in the same column, and neither one for all files nor one for each.

    Raises:
        DataError: if it does not.
    """
    column, _ = next(iter(named.values()))
    for name in sides:
        if name not in named or named[name][0] != column:
            other = next(iter(named))
            raise DataError(
                f"{inventories[other].root}: metadata names patients in column {column!r}, and none does so for {inventories[name].root}"
            )
    everyone = {patient for _, patients in named.values() for patient in patients}
    files = {path for name in sides for path in map(tuple, inventories[name].collection.members)}
    root = inventories["real"].root
    if len(files) > 1 and len(everyone) == 1:
        raise DataError(f"{root}: metadata names one patient for all {len(files)} files, in column {column!r}")
    if len(everyone) >= len(files):
        raise DataError(
            f"{root}: metadata names another patient for each of {len(files)} files, in column {column!r}, which may only number them"
        )
