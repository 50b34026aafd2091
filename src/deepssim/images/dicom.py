"""Read DICOM files: pixels as they are meant to be displayed, and the patient, who is stored only as a salted hash.

Not here: other formats (rasters.py, nifti.py), choosing the reader of a file (files.py).
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.frames import require_room
from deepssim.images.standardize import window

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
SUBJECT_PREFIX = "subject-"
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


def is_dicom(head: bytes) -> bool:
    """Return whether the first 132 bytes of a file are those of a DICOM file."""
    return head[128:132] == b"DICM"


def read_dicom(path: str | Path, *, percentiles: Sequence[float]) -> list[np.ndarray]:
    """Read the frames of a DICOM file as grey values.

    Stored values are mapped to those of the modality (rescale or lookup table), MONOCHROME1 is inverted so that larger is
    brighter, colour becomes luminance, and padding outside the image counts as its darkest value.

    Args:
        path: of the file.
        percentiles: intensity window (see `window`) of images with more than 8 bits; those of 8 bits without rescaling
            keep their values.

    Returns:
        One float32 (H, W), 0 to 1, per frame.

    Raises:
        DataError: if the file is damaged, has no pixels, or no installed package decodes its compression.
    """
    data = _dataset(path)
    if "PixelData" not in data:
        raise DataError(f"{path}: has no pixel data; remove it")
    with readable(path, "DICOM", "replace it"):
        sides = (data.Rows, data.Columns, data.get("SamplesPerPixel", 1), data.get("NumberOfFrames", 1) or 1)
        require_room(sides, path)
        pixels = _decoded(data, path)
        colour = int(data.get("SamplesPerPixel", 1)) > 1
        if colour or data.PhotometricInterpretation == "PALETTE COLOR":
            return [_luminance(frame) for frame in _frames(_rgb(data, pixels), 3)]
        return [_grey(frame, data, percentiles) for frame in _frames(pixels, 2)]


def read_patient(path: str | Path) -> Patient | None:
    """Read whom a DICOM file shows, without its pixels; None if it does not say.

    Raises:
        DataError: if the file is damaged.
    """
    with readable(path, "DICOM", "replace it"):
        data = _dataset(path, stop_before_pixels=True, specific_tags=["PatientID", "SOPInstanceUID"])
        patient_id, instance_uid = _raw_text(data, "PatientID"), _raw_text(data, "SOPInstanceUID")
    return Patient(patient_id, instance_uid) if patient_id else None


def hash_patient(patient: Patient, salt: bytes) -> str:
    """Return the name of a subject: a salted hash of the PatientID.

    Ids are short numbers, so whoever has the salt finds an id by hashing all candidates: the salt must be secret.
    """
    return SUBJECT_PREFIX + hmac.new(salt, patient.patient_id.encode(), hashlib.sha256).hexdigest()[:_HASH_LENGTH]


def _raw_text(data: Any, name: str) -> str:
    """Return the bytes of an element as text; pydicom's own decoding would quote an invalid PatientID in a warning."""
    value = data.get_item(name).value if name in data else None
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value or "")).strip(" \0")


def _dataset(path: str | Path, **options: Any) -> Any:
    import pydicom
    from pydicom.filereader import read_file_meta_info

    with readable(path, "DICOM", "replace it"):
        # Would be decompressed in full before any element could be checked, and is hardly ever used for images.
        if read_file_meta_info(path).get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
            raise DataError(
                f"{path}: cannot be read as DICOM, since the whole file is compressed (deflated); decompress it, for example "
                "with dcmconv"
            )
        return pydicom.dcmread(path, **options)


def _decoded(data: Any, path: str | Path) -> np.ndarray:
    syntax = data.file_meta.TransferSyntaxUID
    try:
        return data.pixel_array
    except (NotImplementedError, RuntimeError) as error:
        if syntax.is_compressed and "plugin" in str(error):
            raise DataError(
                f"{path}: its pixels are compressed as {syntax.name}, which needs another package; install pylibjpeg with "
                "pylibjpeg-libjpeg and pylibjpeg-openjpeg, or python-gdcm, or decompress the file"
            ) from None
        raise DataError(f"{path}: pixels cannot be decoded ({' '.join(str(error).split())[:160]})") from None
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: pixels cannot be decoded ({' '.join(str(error).split())[:160]})") from None


def _frames(pixels: np.ndarray, dimensions: int) -> list[np.ndarray]:
    return list(pixels) if pixels.ndim > dimensions else [pixels]


def _rgb(data: Any, pixels: np.ndarray) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    # pydicom has converted YBR to RGB already.
    return apply_color_lut(pixels, data) if data.PhotometricInterpretation == "PALETTE COLOR" else pixels


def _luminance(frame: np.ndarray) -> np.ndarray:
    values = frame[..., :3].astype(np.float64) / np.iinfo(frame.dtype).max
    return (values @ np.array([0.299, 0.587, 0.114])).astype(np.float32)  # ITU-R BT.601, as Pillow does


def _grey(frame: np.ndarray, data: Any, percentiles: Sequence[float]) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    bits = int(data.BitsStored)
    padding = data.get("PixelPaddingValue")
    outside = np.zeros(frame.shape, bool) if padding is None else frame == padding
    if data.PhotometricInterpretation == "MONOCHROME1":
        frame = (-1 if data.PixelRepresentation else 2**bits - 1) - frame.astype(np.int64)
    values = np.asarray(apply_modality_lut(frame, data), dtype=np.float32)
    if outside.any() and not outside.all():
        values = np.where(outside, values[~outside].min(), values)
    rescaled = (
        "ModalityLUTSequence" in data
        or float(data.get("RescaleSlope", 1)) != 1
        or float(data.get("RescaleIntercept", 0)) != 0
    )
    if bits <= 8 and not rescaled and not data.PixelRepresentation:
        return values / np.float32(2**bits - 1)
    return window(values, percentiles)
