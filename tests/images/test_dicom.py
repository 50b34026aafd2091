import warnings

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels.decoders import JPEG2000LosslessDecoder
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, SecondaryCaptureImageStorage, generate_uid

from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images.dicom import hash_patient, read_patient
from deepssim.images.dicom import read_dicom as open_dicom
from deepssim.images.files import format_of

ALL = (0.0, 100.0)


def write(path, pixels, *, photometric="MONOCHROME2", bits=12, syntax=ExplicitVRLittleEndian, **elements):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.PhotometricInterpretation = photometric
    colour = photometric in ("RGB", "YBR_FULL")
    data.SamplesPerPixel = 3 if colour else 1
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    if colour:
        data.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored, data.HighBit = bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes() if syntax == ExplicitVRLittleEndian else pydicom.encaps.encapsulate([b"\0" * 64])
    if syntax != ExplicitVRLittleEndian:
        data["PixelData"].is_undefined_length = True
    data.save_as(path, enforce_file_format=True)
    return path


def read_dicom(path, *, percentiles, **options):
    """Return the pixels of all frames."""
    contents = open_dicom(path, percentiles=percentiles, options=VolumesConfig(**options))
    return [frame.pixels for frame in contents.frames]


@pytest.fixture
def levels(random):
    return random.integers(1, 4096, (12, 10)).astype(np.uint16)


def test_twelve_bits_use_the_window(tmp_path, levels):
    (read,) = read_dicom(write(tmp_path / "x.dcm", levels), percentiles=ALL)
    np.testing.assert_allclose(read, levels / levels.max(), atol=1e-6)


def test_eight_bits_are_taken_as_they_are(tmp_path, random):
    pixels = random.integers(0, 200, (6, 8), dtype=np.uint8)
    (read,) = read_dicom(write(tmp_path / "x.dcm", pixels, bits=8), percentiles=ALL)
    np.testing.assert_array_equal(read, pixels.astype(np.float32) / np.float32(255))


def test_rescaled_values_are_those_of_the_modality(tmp_path, levels):
    """Hounsfield units: what counts is the rescaled value, so another intercept for other stored values is the same image."""
    first = write(tmp_path / "a.dcm", levels, RescaleSlope=1, RescaleIntercept=-1024)
    second = write(tmp_path / "b.dcm", (levels.astype(np.int16) - 1000), RescaleSlope=1, RescaleIntercept=-24, bits=16)
    values = [read_dicom(path, percentiles=(1, 99))[0] for path in (first, second)]
    np.testing.assert_array_equal(*values)
    scaled = write(tmp_path / "c.dcm", (levels // 2).astype(np.uint16), RescaleSlope=2, RescaleIntercept=-1024)
    assert np.abs(read_dicom(scaled, percentiles=(1, 99))[0] - values[0]).max() < 0.001


def test_monochrome1_is_inverted(tmp_path, levels):
    plain = write(tmp_path / "a.dcm", levels)
    turned = write(tmp_path / "b.dcm", (4095 - levels).astype(np.uint16), photometric="MONOCHROME1")
    np.testing.assert_array_equal(*[read_dicom(path, percentiles=(1, 99))[0] for path in (plain, turned)])


def test_padding_is_the_darkest_value(tmp_path, levels):
    padded = levels.astype(np.int16)
    padded[0] = -2000
    (read,) = read_dicom(write(tmp_path / "x.dcm", padded, PixelPaddingValue=-2000, bits=16), percentiles=ALL)
    assert (read[0] == read[1:].min()).all()
    assert read[1:].std() > 0.2


def test_frames_and_colour(tmp_path, levels, random):
    frames = read_dicom(write(tmp_path / "x.dcm", np.stack([levels, levels // 2])), percentiles=ALL)
    assert len(frames) == 2
    colour = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    (grey,) = read_dicom(write(tmp_path / "y.dcm", colour, photometric="RGB", bits=8), percentiles=ALL)
    np.testing.assert_allclose(grey, colour @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-6)


def test_the_patient_is_a_salted_hash(tmp_path, levels):
    one = write(tmp_path / "a.dcm", levels, PatientID="0007")
    same = write(tmp_path / "b.dcm", levels // 2, PatientID="0007 ")
    other = write(tmp_path / "c.dcm", levels, PatientID="0008")
    hashes = [hash_patient(read_patient(path), b"salt") for path in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert hashes[0] != hash_patient(read_patient(one), b"pepper")
    assert "0007" not in hashes[0]


@pytest.mark.parametrize("elements", [{}, {"PatientID": ""}, {"PatientID": "  "}])
def test_a_file_without_patient_has_none(tmp_path, levels, elements):
    assert read_patient(write(tmp_path / "x.dcm", levels, **elements)) is None


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom's, on writing
def test_an_invalid_patient_id_is_not_quoted_in_a_warning(tmp_path, levels):
    path = write(tmp_path / "x.dcm", levels, PatientID="7" * 80)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_patient(path).patient_id == "7" * 80
        assert len(read_dicom(path, percentiles=ALL)) == 1


def test_a_compressed_syntax_without_its_plugin_is_named(tmp_path, levels, monkeypatch):
    """Whatever is installed here."""
    for plugin in list(JPEG2000LosslessDecoder._available):
        monkeypatch.delitem(JPEG2000LosslessDecoder._available, plugin)
    path = write(tmp_path / "x.dcm", levels, syntax=JPEG2000Lossless)
    with pytest.raises(DataError, match=r"x\.dcm: its pixels are compressed as JPEG 2000.*install pylibjpeg"):
        read_dicom(path, percentiles=ALL)


def test_damaged_files_are_named(tmp_path, levels):
    path = write(tmp_path / "x.dcm", levels)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"x\.dcm: pixels cannot be decoded"):
        read_dicom(path, percentiles=ALL)
    path.write_bytes(b"nonsense" * 30)
    with pytest.raises(DataError, match=r"x\.dcm: cannot be read as DICOM"):
        read_dicom(path, percentiles=ALL)
    empty = write(tmp_path / "y.dcm", levels)
    data = pydicom.dcmread(empty)
    del data.PixelData
    data.save_as(empty)
    with pytest.raises(DataError, match="has no pixel data"):
        read_dicom(empty, percentiles=ALL)


def test_dicom_is_known_by_name_or_first_bytes(tmp_path, levels):
    for name in ("IM0001", "1.2.840.10008.5", "x.DCM", "x.ima"):
        assert format_of(write(tmp_path / name, levels)).name == "DICOM"
    (tmp_path / "notes").write_text("hello")
    (tmp_path / "x.txt").write_bytes((tmp_path / "IM0001").read_bytes())
    assert format_of(tmp_path / "notes") is None
    assert format_of(tmp_path / "x.txt").name == "DICOM"  # the content decides, not a name that means nothing
