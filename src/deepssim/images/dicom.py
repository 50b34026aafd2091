"""Read DICOM files: pixels as they are meant to be displayed, and the patient, who is stored only as a salted hash.

Not here: opening files (dicom_files.py), the mapping of pixels (dicom_pixels.py), other formats (rasters.py, nifti.py).
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.config.choices import DicomWindow
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError, readable
from deepssim.images.dicom_files import open_dataset, require_image
from deepssim.images.dicom_pixels import (
    decode_frames,
    grey,
    has_floats,
    has_stored_window,
    is_colour,
    luminance,
    pixel_spacing,
)
from deepssim.images.frames import Contents, Facts, Frame, require_room
from deepssim.images.memory import Reservation
from deepssim.images.square import NOT_SQUARE, is_square, make_square
from deepssim.images.volumes import NOT_FINITE

SUBJECT_PREFIX = "subject-"
NO_WINDOW = "no intensity window is stored: percentiles are used"
_HASH_LENGTH = 12  # hexadecimal digits; one in 2.8 * 10^14


@dataclass(frozen=True)
class Patient:
    """Whom a DICOM file shows. In clear, so it is never logged or written.

    Attributes:
        patient_id: PatientID; never empty.
        instance_uid: SOPInstanceUID of the file; empty if it has none.
    """

    patient_id: str
    instance_uid: str


def read_dicom(path: str | Path, *, percentiles: Sequence[float], options: VolumesConfig | None = None) -> Contents:
    """Open a DICOM file, whose frames become grey values.

    Stored values are mapped to those of the modality (rescale or lookup table), MONOCHROME1 is inverted so that larger is
    brighter, colour becomes luminance, and padding outside the image counts as its darkest value. Overlays are ignored.

    Args:
        path: of the file; one without preamble is read, too.
        percentiles: intensity window (see `window`) of images with more than 8 bits; those of 8 bits without rescaling
            keep their values.
        options: `dicom_window` and `square_pixels`; the defaults if None.

    Returns:
        Its frames, which are decoded one by one, and how they are stored.

    Raises:
        NotAnImage: if the file holds no images by its nature, such as a DICOMDIR or a structured report.
        DataError: if the file is damaged or has no pixels. The frames raise it if they cannot be decoded.
    """
    options = options or VolumesConfig()
    with readable(path, "DICOM", "replace it"):
        memory = Reservation(Path(path).stat().st_size)
        data = open_dataset(path)
        require_image(data, path)
        count = int(data.get("NumberOfFrames") or 1)
        require_room((data.Rows, data.Columns, data.get("SamplesPerPixel") or 1, max(count, 1)), path)
        floats = has_floats(data)
        facts = Facts(
            bits=None if floats else int(data.BitsStored),
            modality=str(data.get("Modality") or ""),
            notices=_notices(data, options),
        )
        frames = _frames(data, count, path, percentiles, options, memory)
        if floats:  # rare, and only the values say whether all are finite
            finite = all(np.isfinite(frame).all() for frame in decode_frames(data, path))
            facts = facts if finite else Facts(None, "", facts.modality, (*facts.notices, NOT_FINITE))
    return Contents(frames, facts)


def read_patient(path: str | Path) -> Patient | None:
    """Read whom a DICOM file shows, without its pixels; None if it does not say.

    Raises:
        DataError: if the file is damaged.
    """
    with readable(path, "DICOM", "replace it"):
        data = open_dataset(path, stop_before_pixels=True, specific_tags=["PatientID", "SOPInstanceUID"])
        patient_id, instance_uid = _raw_text(data, "PatientID"), _raw_text(data, "SOPInstanceUID")
    return Patient(patient_id, instance_uid) if patient_id else None


def hash_patient(patient: Patient, salt: bytes) -> str:
    """Return the name of a subject: a salted hash of the PatientID.

    Ids are short numbers, so whoever has the salt finds an id by hashing all candidates: the salt must be secret.
    """
    return SUBJECT_PREFIX + hmac.new(salt, patient.patient_id.encode(), hashlib.sha256).hexdigest()[:_HASH_LENGTH]


def is_hashed_patient(subject: str) -> bool:
    """Return whether a subject is a hash by `hash_patient`, and not a file or folder such as `subject-01.png`."""
    return re.fullmatch(rf"{SUBJECT_PREFIX}[0-9a-f]{{{_HASH_LENGTH}}}", subject) is not None


def _raw_text(data: Any, name: str) -> str:
    """Return the bytes of an element as text; pydicom's own decoding would quote an invalid PatientID in a warning."""
    value = data.get_item(name).value if name in data else None
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value or "")).strip(" \0")


def _notices(data: Any, options: VolumesConfig) -> tuple[str, ...]:
    notices = []
    if options.square_pixels and not is_square(pixel_spacing(data)):
        notices.append(NOT_SQUARE)
    if options.dicom_window is DicomWindow.STORED and not is_colour(data) and not has_stored_window(data):
        notices.append(NO_WINDOW)
    return tuple(notices)


def _frames(
    data: Any, count: int, path: str | Path, percentiles: Sequence[float], options: VolumesConfig, memory: Reservation
) -> Iterator[Frame]:
    """Yield the frames; the reservation of memory ends with the generator, or when nobody holds it any more."""
    frames = 0
    with readable(path, "DICOM", "replace it"):
        colour = is_colour(data)
        for frames, pixels in enumerate(decode_frames(data, path), start=1):
            index = frames - 1
            shown = luminance(pixels, data) if colour else grey(pixels, index, data, percentiles, options.dicom_window)
            if options.square_pixels:
                shown = make_square(shown, pixel_spacing(data, index))
            yield Frame(f"frame-{index:03d}" if count > 1 else "", shown)
    if not frames:
        raise DataError(f"{path}: has no frames; replace it")
    memory.release()
