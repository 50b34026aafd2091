"""Readers of volumes and DICOM files, each with a valid small file, and the record of a reader."""

import gzip
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom

from deepssim.images.dicom import read_patient
from deepssim.images.files import read_file


@dataclass(frozen=True)
class Reader:
    """What reads one kind of file.

    Attributes:
        suffix: of the file.
        make: writes a valid file.
        read: reads it.
    """

    suffix: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]


PERCENTILES = (0.5, 99.5)


NIBABEL_DATA = Path(nibabel.__file__).parent / "tests" / "data"


def random_pixels(kind=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, (16, 12)).astype(kind)


def _volume(suffix: str) -> Reader:
    def make(path: Path) -> None:
        values = np.random.default_rng(0).integers(0, 999, (6, 5, 4)).astype(np.int16)
        content = nibabel.Nifti1Image(values, np.eye(4)).to_bytes()
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)

    return Reader(suffix, make, lambda path: read_file(path, percentiles=PERCENTILES))


def _dicom(path: Path, *, packed: bool) -> None:
    """Write a secondary capture of 12 bits, as it is or run-length encoded."""
    pixels = random_pixels(np.uint16) >> 4
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    data.PatientID, data.PhotometricInterpretation, data.SamplesPerPixel = "007", "MONOCHROME2", 1
    data.RescaleSlope, data.RescaleIntercept, data.PixelRepresentation = 2, -1024, 0
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = pixels.tobytes()
    if packed:
        data.compress(pydicom.uid.RLELossless)
    data.save_as(path, enforce_file_format=True)


def _read_dicom(path: Path) -> object:
    return read_patient(path), read_file(path, percentiles=PERCENTILES)


def _compressed(syntax: str) -> Callable[[Path], object]:
    """Return what writes a file of 8 bits, compressed by the packages that are installed."""

    def make(path: Path) -> None:
        _dicom(path, packed=False)
        data = pydicom.dcmread(path)
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        pixels = np.kron(random_pixels(), np.ones((4, 4), np.uint8))  # large enough for the levels of JPEG 2000
        data.Rows, data.Columns = pixels.shape
        data.PixelData = pixels.tobytes()
        data.compress(syntax)
        data.save_as(path, enforce_file_format=True)

    return make


def _without_preamble(path: Path) -> None:
    _dicom(path, packed=False)
    content = path.read_bytes()[132:]
    path.write_bytes(content[12 + int.from_bytes(content[8:12], "little") :])


def _deflated(path: Path) -> None:
    _dicom(path, packed=False)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data.save_as(path)


def _volume_values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 999, (6, 5, 4)).astype(np.int16)


def _itk(path: Path) -> None:
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(_volume_values()), str(path))


def _header_of(make: Callable[[Path], object], values: str) -> Callable[[Path], object]:
    """Return what writes a header alone, which names its values as `values`."""

    def write(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder, f"x{path.suffix}")
            make(whole)
            (beside,) = (other.name for other in Path(folder).iterdir() if other != whole)
            path.write_bytes(whole.read_bytes().replace(beside.encode(), values.encode()))

    return write


def _with_values(path: Path) -> object:
    """Read a header whose values lie beside it."""
    for name in ("values.raw", f"{path.stem}.img"):
        (path.parent / name).write_bytes(_volume_values().tobytes())
    return read_file(path, percentiles=PERCENTILES)


def _copy(name: str) -> Callable[[Path], object]:
    """Return what copies a file of nibabel's own tests, or of pydicom's."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files" if name.endswith(".dcm") else NIBABEL_DATA
    return lambda path: path.write_bytes((folder / name).read_bytes())


def _read(path: Path) -> object:
    return read_file(path, percentiles=PERCENTILES)


SCANS = {
    "nifti": _volume(".nii"),
    "nifti, packed": _volume(".nii.gz"),
    "dicom": Reader(".dcm", lambda path: _dicom(path, packed=False), _read_dicom),
    "dicom, packed": Reader(".dcm", lambda path: _dicom(path, packed=True), _read_dicom),
    "dicom, jpeg 2000": Reader(".dcm", _compressed(pydicom.uid.JPEG2000Lossless), _read_dicom),
    "dicom, jpeg-ls": Reader(".dcm", _compressed(pydicom.uid.JPEGLSLossless), _read_dicom),
    "dicom, jpeg lossless": Reader(".dcm", _copy("SC_rgb_jpeg_gdcm.dcm"), _read_dicom),
    "dicom without preamble": Reader(".dcm", _without_preamble, _read_dicom),
    "dicom, deflated": Reader(".dcm", _deflated, _read_dicom),
    "analyze": Reader(
        ".hdr", _header_of(lambda path: nibabel.save(nibabel.AnalyzeImage(_volume_values(), np.eye(4)), path), ""),
        _with_values,
    ),
    "mgh": Reader(".mgz", _copy("test.mgz"), _read),
    "minc 1": Reader(".mnc", _copy("tiny.mnc"), _read),
    "minc 2": Reader(".mnc", _copy("minc2_1_scale.mnc"), _read),
    "nrrd": Reader(".nrrd", _itk, _read),
    "nrrd, detached": Reader(".nhdr", _header_of(_itk, "values.raw"), _with_values),
    "metaimage": Reader(".mha", _itk, _read),
    "metaimage, detached": Reader(".mhd", _header_of(_itk, "values.raw"), _with_values),
}  # fmt: skip
