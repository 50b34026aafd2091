"""How a report counts: numbers with their nouns, and whether those counted are patients or merely images.

Not here: how the subject of an image is found (subjects.py), the sentences (wording.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepssim.audit.subjects import patients_found
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import AuditUnit
from deepssim.images.folders import Collection


@dataclass(frozen=True)
class Unit:
    """What counts once.

    Attributes:
        one, many: its name.
        known: whether it is a patient, as named by the user or by DICOM files; otherwise images or files stand for patients.
    """

    one: str
    many: str
    known: bool

    def count(self, number: int, kind: str = "") -> str:
        """Return a number of them in words, such as `5 held-out subjects`, where `kind` is `held-out`."""
        return counted(number, f"{kind} {self.one}".strip(), f"{kind} {self.many}".strip())


SUBJECT = Unit("subject", "subjects", known=True)
IMAGE = Unit("image", "images", known=False)
FILE = Unit("file", "files", known=False)
SCAN = Unit("scan", "scans", known=False)


def unit_of(
    collections: Mapping[str, Collection],
    subjects: Mapping[str, Sequence[str]],
    options: AuditConfig,
    what: AuditUnit = AuditUnit.IMAGE,
) -> Unit:
    """Return what the training and held-out images of an audit are counted by.

    Args:
        collections, subjects: images and their subjects, by side.
        options: section `audit`.
        what: is compared, images or volumes.
    """
    sides = [name for name in ("real", "holdout") if name in collections]
    if options.subjects is not None or options.subject_pattern is not None:
        return SUBJECT
    if all(patients_found(subjects[name]) for name in sides):
        return SUBJECT
    return stand_in([collections[name].files for name in sides], what)


def stand_in(files: Sequence[Sequence[Path]], what: AuditUnit) -> Unit:
    """Return what counts as one patient where patients are not known.

    Args:
        files: of the images of each side.
        what: is compared, images or volumes.
    """
    if any(len(set(paths)) < len(paths) for paths in files):
        return FILE
    return SCAN if what is AuditUnit.VOLUME else IMAGE


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 image`, `2,000 images`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def agree(number: int, singular: str, plural: str) -> str:
    """Return the form of a verb or pronoun that goes with a number."""
    return singular if number == 1 else plural


def over(method: str, one: str, many: str) -> str:
    """Return how an interval was computed, with the name of what was counted in place of `subject`.

    Args:
        method: of an interval.
        one, many: name of what counts once.
    """
    for subject, name in (("subject or volume", one), ("subjects", many), ("subject", one)):
        method = re.sub(rf"\b{subject}\b", name, method)
    return method
