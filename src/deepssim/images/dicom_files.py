"""Open DICOM files: with or without preamble, deflated or not, and only those that hold images.

Not here: pixels (dicom_pixels.py), patients (dicom.py).
"""

import io
import zlib
from pathlib import Path
from typing import Any

from deepssim.errors import DataError, NotAnImage, readable

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_ADVICE = "replace it"
_PREAMBLE = 132  # bytes, with the signature "DICM"
_MAX_INFLATED = 2**29  # bytes of a deflated file: twice an uncompressed whole-body CT
# Value representations of the first elements of files without preamble (groups 0002 and 0008).
_FIRST_VRS = (b"UL", b"OB", b"UI", b"CS", b"SH", b"DA", b"LO", b"TM", b"AE")
_DIRECTORY = "1.2.840.10008.1.3.10"
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # have pixels, but those are labels


def is_dicom(head: bytes) -> bool:
    """Return whether the first 132 bytes of a file are those of a DICOM file, possibly without its preamble."""
    if head[128:132] == b"DICM":
        return True
    # PS3.5, 7.1: a data element is a tag, in ascending order, then a VR in two letters or the length of its value.
    little, big = head[:2] in (b"\x02\0", b"\x08\0"), head[:2] in (b"\0\x02", b"\0\x08")
    if not (little or big) or len(head) < 16 or head[2 if big else 3] != 0:
        return False
    length = int.from_bytes(head[4:8], "big" if big else "little")
    return head[4:6] in _FIRST_VRS or (0 < length <= 64 and length % 2 == 0)


def open_dataset(path: str | Path, **options: Any) -> Any:
    """Read the data set of a DICOM file.

    Args:
        path: of the file; one without preamble or file meta information is read, too.
        options: of `pydicom.dcmread`.

    Returns:
        `pydicom.FileDataset`, whose file meta information has a transfer syntax.

    Raises:
        DataError: if the file is damaged or is not DICOM.
    """
    import pydicom

    with readable(path, "DICOM", _ADVICE):
        inflated = _inflated(path)
        data = pydicom.dcmread(path if inflated is None else io.BytesIO(inflated), force=True, **options)
        known = any(name in data for name in ("SOPClassUID", "SOPInstanceUID", "PatientID", "Rows", *PIXELS))
        if not known and not data.file_meta.get("MediaStorageSOPClassUID"):
            raise DataError(f"{path}: cannot be read as DICOM (no element of an image was found); {_ADVICE}")
        if inflated is not None or not data.file_meta.get("TransferSyntaxUID"):
            implicit, little = data.original_encoding if inflated is None else (False, True)
            explicit = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
            data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else explicit
    return data


def require_image(data: Any, path: str | Path) -> None:
    """Check that a data set holds images.

    Raises:
        NotAnImage: if it does not by its nature: a DICOMDIR, structured report, segmentation, RT plan and others.
        DataError: if it is an image without pixels.
    """
    import pydicom

    uid = pydicom.uid.UID(str(data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID") or ""))
    has_pixels = any(name in data for name in PIXELS)
    if uid == _DIRECTORY:
        raise NotAnImage(f"{path}: is a DICOMDIR, the table of contents of a folder, not an image")
    if uid in _SEGMENTATIONS:
        raise NotAnImage(f"{path}: is a DICOM segmentation, not an image")
    if has_pixels:
        return
    name = " ".join(uid.name.removesuffix(" Storage").split())[:80]
    if "Image" in name or "Dose" in name or data.get("Rows"):
        raise DataError(f"{path}: has no pixel data; replace it")
    if not uid:
        raise DataError(f"{path}: has neither pixel data nor a SOP class; {_ADVICE}")
    raise NotAnImage(f"{path}: is a DICOM {_kind(name)}, not an image")


def _kind(name: str) -> str:
    """Return what users call a SOP class; the name that the standard gives to all others."""
    kinds = {" SR": "structured report", "Encapsulated PDF": "encapsulated PDF", "Presentation State": "presentation state",
             "Waveform": "waveform", "RT Structure Set": "RT structure set", "RT Plan": "RT plan",
             "RT Ion Plan": "RT plan", "Key Object": "key object selection"}  # fmt: skip
    return next((kind for part, kind in kinds.items() if part in name), f"object without pixels ({name})")


def _inflated(path: str | Path) -> bytes | None:
    """Return a deflated file with its data set decompressed; None if the file is not deflated.

    pydicom would decompress it without a limit.
    """
    import pydicom
    from pydicom.filereader import read_file_meta_info

    with Path(path).open("rb") as file:
        if file.read(_PREAMBLE)[128:] != b"DICM":
            return None
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
            return None
        if "FileMetaInformationGroupLength" not in meta:
            raise DataError(
                f"{path}: is compressed as a whole (deflated), but does not say where that begins; {_ADVICE}"
            )
        file.seek(_PREAMBLE + 12 + int(meta.FileMetaInformationGroupLength))  # 12 bytes: the element of the length
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(file.read(), _MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise DataError(
            f"{path}: is compressed as a whole (deflated) and larger than {_MAX_INFLATED:,} bytes; {_ADVICE}"
        )
    return _explicit_head(meta) + content


def _explicit_head(meta: Any) -> bytes:
    """Return preamble and file meta information of an uncompressed file."""
    import pydicom
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_file_meta_info

    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    head = DicomBytesIO()
    write_file_meta_info(head, meta, enforce_standard=False)
    return bytes(128) + b"DICM" + head.getvalue()
