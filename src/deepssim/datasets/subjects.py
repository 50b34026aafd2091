"""Whose images a file holds: by a pattern in its path, by the patient that the file records, by the subject that a path of BIDS
names, or nobody's but its own.

Not here: subjects named in a table (sources.py, audit/subjects.py), splitting by subject (splits.py).
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepssim.errors import ConfigError, DataError, quoted
from deepssim.images.dicom import Patient, hash_patient, is_hashed_patient
from deepssim.images.files import format_of, read_each

_BIDS = r"sub-[A-Za-z0-9]+"
_NAMED_PREFIX = "metadata:"  # unlike any that DICOM files name


@dataclass(frozen=True)
class NamedFile:
    """A file whose subject is wanted.

    Attributes:
        path: of the file.
        relative: the path that a pattern searches, for example below the folder.
        name: the subject if nothing else is known, so that all images of the file have one subject.
    """

    path: Path
    relative: str
    name: str


def find_subjects(
    files: Sequence[NamedFile], *, pattern: str | None, setting: str, salt: bytes | None, place: str, threads: int = 1
) -> list[str]:
    """Return the subject of every file.

    Args:
        files: the files of a folder or table.
        pattern: regular expression with one group around the subject; it alone decides if given.
        setting: name of the setting that holds the pattern, for messages.
        salt: secret for hashing patient ids. None derives it from the PatientIDs and SOPInstanceUIDs of all files: the same
            in every run, and unknown to anyone who lacks the files. Another set of files then gives other names.
        place: the folder or table, for messages.
        threads: files read at a time.

    Raises:
        ConfigError: if the pattern is not usable.
        DataError: if it does not fit a path, or a file cannot be read.
    """
    if pattern is not None:
        find = subject_finder(pattern, setting)
        named = [find(file.relative) for file in files]
        absent = [file.relative for file, subject in zip(files, named, strict=True) if subject is None]
        if absent:
            raise DataError(
                f"{place}: no subject found by {setting} {quoted(pattern)} in the paths of {len(absent)} of {len(files)} files, "
                f"first {absent[0]}; change the pattern or the names"
            )
        return [str(subject) for subject in named]
    readers = {
        file.path: known.read_patient for file in files if (known := format_of(file.path)) and known.read_patient
    }
    found = read_each(
        list(readers.items()), lambda item: item[1](item[0]), threads=threads, place=place, total=len(files)
    )
    patients = {path: patient for path, patient in zip(readers, found, strict=True) if patient}
    if salt is None:
        recorded = sorted((patient.patient_id, patient.instance_uid) for patient in patients.values())
        salt = hashlib.sha256(repr(recorded).encode()).digest()
    names = {path: hash_patient(patient, salt) for path, patient in patients.items()}
    return [names.get(file.path) or bids_subject(file.relative) or file.name for file in files]


def bids_subject(relative: str) -> str | None:
    """Return the subject of a path that follows BIDS, as `sub-01` in `sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz`; else None.

    The name of a file alone names nobody: files may have been numbered that way.

    Args:
        relative: path below the folder, with forward slashes.

    Source: Brain Imaging Data Structure, doi:10.1038/sdata.2016.44: labels are letters and digits.
    """
    found = re.search(rf"(?:^|/)({_BIDS})(?=/)", relative)
    return found and found[1]


def is_patient(subject: str) -> bool:
    """Return whether a subject that no pattern or table names is a patient whom DICOM, BIDS or metadata names, not just a file."""
    hashed = subject.removeprefix(_NAMED_PREFIX) if subject.startswith(_NAMED_PREFIX) else subject
    return is_hashed_patient(hashed) or re.fullmatch(_BIDS, subject) is not None


def hash_named(patient: str, salt: bytes) -> str:
    """Return the name of a subject: a salted hash of the patient whom metadata of a folder names.

    Args:
        patient: as the metadata has it.
        salt: secret, see `hash_patient`.
    """
    return _NAMED_PREFIX + hash_patient(Patient(patient, ""), salt)


def subject_finder(pattern: str, setting: str) -> Callable[[str], str | None]:
    """Return a function that finds the subject in a relative path; None where there is none.

    Args:
        pattern: regular expression with one group.
        setting: name of the setting that holds it, for messages.

    Raises:
        ConfigError: if the pattern is not usable.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{setting} {quoted(pattern)} is not a regular expression ({error})") from None
    if expression.groups != 1:
        raise ConfigError(
            f"{setting} {quoted(pattern)} has {expression.groups} groups; put one pair of parentheses around the subject"
        )

    def find(path: str) -> str | None:
        match = expression.search(path)
        return (match[1] or None) if match else None

    return find
