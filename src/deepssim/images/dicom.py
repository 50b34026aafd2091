"""Read DICOM files: pixel data as it is meant to be seen, the patient only as a salted hash.

Not here: other formats (reading.py).
"""

import hashlib
import hmac
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.reading import MOST_VALUES
from deepssim.images.standardize import window

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_HASH_LENGTH = 12  # hexadecimal digits; one in 2.8 * 10^14


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its name or, without an extension, by its first bytes."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_dicom(path: str | Path, *, percentiles: Sequence[float]) -> list[np.ndarray]:
    """Read the frames of a DICOM file as grey values.

    Stored values become those of the modality (rescale or lookup table), MONOCHROME1 is turned so that more is brighter,
    colour becomes luminance, and padding outside the image counts as its darkest value.

    Args:
        path: of the file.
        percentiles: intensity window (see `window`) of images with more than 8 bits; those of 8 bits without rescaling
            are taken as they are.

    Returns:
        One float32 (H, W), 0 to 1, for every frame.

    Raises:
        DataError: if the file is damaged, has no pixels, or is compressed in a way that no installed package decodes.
    """
    data = _dataset(path)
    if "PixelData" not in data:
        raise DataError(f"{path}: has no pixel data; leave it out")
    with readable(path, "DICOM", "replace it"):
        _require_room(data, path)
        pixels = _decoded(data, path)
        colour = int(data.get("SamplesPerPixel", 1)) > 1
        if colour or data.PhotometricInterpretation == "PALETTE COLOR":
            return [_luminance(frame) for frame in _frames(_rgb(data, pixels), 3)]
        return [_grey(frame, data, percentiles) for frame in _frames(pixels, 2)]


def patient_hash(path: str | Path, salt: bytes) -> str | None:
    """Return a salted hash of the PatientID, or None where there is none; the id itself goes nowhere.

    Without the salt nobody can find the id by trying out all that there are.
    """
    with readable(path, "DICOM", "replace it"):  # elements are decoded when they are asked for
        patient = str(_dataset(path, stop_before_pixels=True).get("PatientID", "")).strip()
    if not patient:
        return None
    return "subject-" + hmac.new(salt, patient.encode(), hashlib.sha256).hexdigest()[:_HASH_LENGTH]


def _dataset(path: str | Path, **options: Any) -> Any:
    import pydicom
    from pydicom.filereader import read_file_meta_info

    with readable(path, "DICOM", "replace it"):
        # Unpacked as a whole before anything can be asked, and hardly ever used for images.
        if read_file_meta_info(path).get("TransferSyntaxUID") == pydicom.uid.DeflatedExplicitVRLittleEndian:
            raise DataError(
                f"{path}: cannot be read as DICOM, since all of it is packed; unpack it, for example with dcmconv"
            )
        return pydicom.dcmread(path, **options)


def _require_room(data: Any, path: str | Path) -> None:
    """Refuse a file whose header claims more pixels than a study can have."""
    sides = (data.Rows, data.Columns, data.get("SamplesPerPixel", 1), data.get("NumberOfFrames", 1) or 1)
    claimed = math.prod(int(side) for side in sides)
    if claimed > MOST_VALUES:
        raise DataError(f"{path}: claims {claimed:,} pixels, more than {MOST_VALUES:,}; cut it into parts")


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

    # pydicom has turned YBR to RGB already.
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
