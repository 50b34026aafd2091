"""What DICOM files say about their pixels: bits, padding, tables, windows, spacing; and files that hold no images."""

import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from deepssim.config.choices import DicomWindow
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError, NotAnImage
from deepssim.images.dicom import NO_WINDOW, read_patient
from deepssim.images.dicom import read_dicom as open_dicom
from deepssim.images.files import format_of
from deepssim.images.square import NOT_SQUARE
from deepssim.images.volumes import NOT_FINITE
from tests.images.test_dicom import ALL, read_dicom, write


@pytest.fixture
def levels(random):
    return random.integers(1, 4096, (12, 10)).astype(np.uint16)


def item(**elements) -> Sequence:
    data = Dataset()
    for name, value in elements.items():
        setattr(data, name, value)
    return Sequence([data])


def table(entries, first, bits) -> Sequence:
    data = Dataset()
    data.LUTDescriptor = [len(entries), first, bits]
    data.add_new("LUTData", "US", [int(entry) for entry in entries])
    return Sequence([data])


def test_colour_of_twelve_bits_is_as_bright_as_of_eight(tmp_path, random):
    """Divided by 65,535, the largest number of the type, it would come out black."""
    pixels = random.integers(0, 4096, (6, 8, 3)).astype(np.uint16)
    path = write(tmp_path / "x.dcm", pixels, photometric="RGB", bits=12)
    (grey,) = read_dicom(path, percentiles=ALL)
    np.testing.assert_allclose(grey, pixels @ np.array([0.299, 0.587, 0.114]) / 4095, atol=1e-6)
    assert open_dicom(path, percentiles=ALL).facts.bits == 12


@pytest.mark.parametrize("ends", [(-2000, -1500), (-1500, -2000)])
@pytest.mark.parametrize("stored", [np.int16, np.uint16])
def test_a_range_of_padding_is_the_darkest_value_in_either_order(tmp_path, levels, ends, stored):
    padded = levels.astype(np.int32)
    padded[0] = np.linspace(-2000, -1500, padded.shape[1])
    shift = 0 if stored is np.int16 else 2000
    path = write(
        tmp_path / "x.dcm", (padded + shift).astype(stored), bits=16,
        PixelPaddingValue=ends[0] + shift, PixelPaddingRangeLimit=ends[1] + shift,
    )  # fmt: skip
    (read,) = read_dicom(path, percentiles=ALL)
    inside = (padded[1:] + shift).astype(np.float64)
    low = inside.min() if stored is np.int16 and inside.min() < 0 else 0
    np.testing.assert_allclose(read[1:], (inside - low) / (inside.max() - low), atol=1e-6)
    assert (read[0] == read[1:].min()).all()


def test_negative_padding_may_be_written_as_an_unsigned_number(tmp_path, levels):
    padded = levels.astype(np.int16)
    padded[0] = -2000
    path = write(tmp_path / "x.dcm", padded, bits=16)
    data = pydicom.dcmread(path)
    data.add_new("PixelPaddingValue", "US", 65536 - 2000)
    data.save_as(path)
    (read,) = read_dicom(path, percentiles=ALL)
    assert (read[0] == read[1:].min()).all()
    assert read[1:].std() > 0.2


def test_padding_is_dark_in_an_inverted_image(tmp_path, levels):
    """Padding is a stored value, so it is found before the inversion, and black after it."""
    padded = levels.copy()
    padded[0] = 0
    (read,) = read_dicom(
        write(tmp_path / "x.dcm", padded, photometric="MONOCHROME1", PixelPaddingValue=0), percentiles=ALL
    )
    assert (read[0] == read[1:].min()).all()
    inverted = 4095.0 - levels[1:]
    np.testing.assert_allclose(read[1:], inverted / inverted.max(), atol=1e-6)


@pytest.mark.parametrize(("name", "stored"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_floating_point_pixels(tmp_path, random, name, stored):
    pixels = random.random((2, 6, 8)).astype(stored) * 5
    for damaged in (False, True):
        if damaged:
            pixels[1, 2, 3] = np.nan
        path = write(tmp_path / "x.dcm", np.zeros((2, 6, 8), np.uint16))
        data = pydicom.dcmread(path)
        del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
        data.BitsAllocated = stored().itemsize * 8
        setattr(data, name, pixels.tobytes())
        data.save_as(path)
        contents = open_dicom(path, percentiles=ALL)
        frames = [frame.pixels for frame in contents.frames]
        assert contents.facts.bits is None
        assert contents.facts.notices == ((NOT_FINITE,) if damaged else ())
        for frame, values in zip(frames, pixels, strict=True):
            np.testing.assert_allclose(frame, np.nan_to_num(values) / np.nanmax(values), atol=1e-6)


def test_a_table_of_the_modality_is_applied_before_the_inversion(tmp_path):
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4)
    entries = np.arange(16) ** 2
    options = {"ModalityLUTSequence": table(entries, 0, 8), "bits": 12}
    plain = read_dicom(write(tmp_path / "a.dcm", pixels, **options), percentiles=ALL)[0]
    np.testing.assert_allclose(plain.ravel(), entries / 225, atol=1e-6)
    inverted = read_dicom(write(tmp_path / "b.dcm", pixels, photometric="MONOCHROME1", **options), percentiles=ALL)[0]
    np.testing.assert_allclose(inverted.ravel(), (255 - entries) / 255, atol=1e-6)


def test_frames_have_a_scale_and_a_spacing_of_their_own(tmp_path, levels):
    """Enhanced multi-frame files keep them in functional groups, of each frame or of all."""
    groups = [
        item(PixelValueTransformationSequence=item(RescaleSlope=slope, RescaleIntercept=-1024, RescaleType="HU"))
        for slope in (1, 3)
    ]
    stack = np.stack([levels, levels])
    path = write(
        tmp_path / "x.dcm", stack, bits=12, PerFrameFunctionalGroupsSequence=Sequence([group[0] for group in groups]),
        SharedFunctionalGroupsSequence=item(PixelMeasuresSequence=item(PixelSpacing=[2, 1])),
    )  # fmt: skip
    frames = read_dicom(path, percentiles=ALL, dicom_window=DicomWindow.STORED, square_pixels=False)
    for frame, slope in zip(frames, (1, 3), strict=True):
        values = slope * levels.astype(float) - 1024
        np.testing.assert_allclose(frame, (values - values.min()) / (values.max() - values.min()), atol=1e-6)
    assert [frame.shape for frame in read_dicom(path, percentiles=ALL)] == [(24, 10)] * 2


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_the_stored_window_by_choice(tmp_path, levels, function, photometric):
    """Against pydicom's own, whose result covers the values that the stored bits can have."""
    elements = {"WindowCenter": [1040, 9], "WindowWidth": [400, 9], "RescaleSlope": 1, "RescaleIntercept": -1024}
    if function:
        elements["VOILUTFunction"] = function
    path = write(tmp_path / "x.dcm", levels, photometric=photometric, **elements)
    data = pydicom.dcmread(path)
    shown = pydicom.pixels.apply_windowing(pydicom.pixels.apply_modality_lut(data.pixel_array, data), data)
    expected = (shown + 1024) / 4095
    expected = 1 - expected if photometric == "MONOCHROME1" else expected
    (read,) = read_dicom(path, percentiles=ALL, dicom_window=DicomWindow.STORED)
    np.testing.assert_allclose(read, expected, atol=1e-6)
    assert np.abs(read_dicom(path, percentiles=ALL)[0] - expected).max() > 0.1  # the default is not the stored window


def test_a_stored_table_by_choice(tmp_path):
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4)
    entries = 4095 - np.arange(16) * 100
    path = write(tmp_path / "x.dcm", pixels, VOILUTSequence=table(entries, 0, 12))
    (read,) = read_dicom(path, percentiles=ALL, dicom_window=DicomWindow.STORED)
    np.testing.assert_allclose(read.ravel(), entries / 4095, atol=1e-6)


def test_without_a_stored_window_the_percentiles_are_used_and_named(tmp_path, levels):
    path = write(tmp_path / "x.dcm", levels)
    contents = open_dicom(path, percentiles=ALL, options=VolumesConfig(dicom_window=DicomWindow.STORED))
    assert contents.facts.notices == (NO_WINDOW,)
    np.testing.assert_array_equal(next(iter(contents.frames)).pixels, read_dicom(path, percentiles=ALL)[0])


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({"PixelSpacing": [0.5, 0.25]}, (24, 10)),
        ({"ImagerPixelSpacing": [0.3, 0.6]}, (12, 20)),
        ({"PixelAspectRatio": [2, 1]}, (24, 10)),
        ({"PixelSpacing": [0.5, 0.502]}, (12, 10)),
        ({"PixelSpacing": [0.5, 500]}, (12, 10)),  # a mistake
        ({}, (12, 10)),
    ],
)
def test_pixels_become_square(tmp_path, levels, elements, shape):
    path = write(tmp_path / "x.dcm", levels, Modality="CR", **elements)
    contents = open_dicom(path, percentiles=ALL)
    (frame,) = contents.frames
    assert frame.pixels.shape == shape
    assert contents.facts.notices == ((NOT_SQUARE,) if shape != levels.shape else ())
    assert contents.facts.modality == "CR"
    plain = open_dicom(path, percentiles=ALL, options=VolumesConfig(square_pixels=False))
    assert next(iter(plain.frames)).pixels.shape == levels.shape
    assert plain.facts.notices == ()


@pytest.mark.parametrize("kept", ["meta", "nothing"])
def test_files_without_preamble(tmp_path, levels, kept):
    path = write(tmp_path / "whole.dcm", levels, PatientID="0007")
    expected = read_dicom(path, percentiles=ALL)[0]
    content = path.read_bytes()[132:]
    if kept == "nothing":
        content = content[12 + int.from_bytes(content[8:12], "little") :]
    for name in ("bare.dcm", "IM0001"):
        bare = tmp_path / name
        bare.write_bytes(content)
        assert format_of(bare).name == "DICOM"
        np.testing.assert_array_equal(read_dicom(bare, percentiles=ALL)[0], expected)
        assert read_patient(bare).patient_id == "0007"


def deflated(path):
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path)
    return path


def test_deflated_files(tmp_path, levels):
    path = write(tmp_path / "x.dcm", levels, PatientID="0007")
    expected = read_dicom(path, percentiles=ALL)[0]
    np.testing.assert_array_equal(read_dicom(deflated(path), percentiles=ALL)[0], expected)
    assert read_patient(path).patient_id == "0007"


def test_a_deflated_file_without_end_is_refused(tmp_path, levels, monkeypatch):
    path = deflated(write(tmp_path / "x.dcm", levels))
    monkeypatch.setattr("deepssim.images.dicom_files._MAX_INFLATED", 10**5)
    packer = zlib.compressobj(wbits=-15)
    head = path.read_bytes()[: 132 + 12 + pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength]
    path.write_bytes(head + packer.compress(bytes(10**7)) + packer.flush())
    for read in (lambda: read_dicom(path, percentiles=ALL), lambda: read_patient(path)):
        with pytest.raises(DataError, match="deflated.*larger than 100,000 bytes"):
            read()


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.33", "structured report"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "encapsulated PDF"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "RT structure set"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RT plan"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "presentation state"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "waveform"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "key object selection"),
        ("1.2.840.10008.5.1.4.1.1.66", "object without pixels (Raw Data)"),
        ("1.3.12.2.1107.5.9.1", "object without pixels (1.3.12.2.1107.5.9.1)"),  # Siemens, private
        ("1.2.840.10008.5.1.4.1.1.66.4", "segmentation"),
    ],
)
def test_objects_that_are_no_images_are_named(tmp_path, levels, uid, kind):
    path = write(tmp_path / "x.dcm", levels)
    data = pydicom.dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UID(uid)
    if kind != "segmentation":
        del data.PixelData, data.Rows, data.Columns
    data.save_as(path)
    with pytest.raises(NotAnImage) as caught:
        open_dicom(path, percentiles=ALL)
    assert f"x.dcm: is a DICOM {kind}, not an image" in str(caught.value)


def test_frames_that_the_header_does_not_declare_are_not_passed_over(tmp_path, levels):
    path = write(tmp_path / "x.dcm", np.stack([levels, levels // 2]))
    data = pydicom.dcmread(path)
    del data.NumberOfFrames
    data.save_as(path)
    with pytest.raises(DataError, match="stores 2 frames, but declares one"):
        read_dicom(path, percentiles=ALL)


def test_an_image_that_lost_its_pixels_is_not_passed_over(tmp_path, levels):
    path = write(tmp_path / "x.dcm", levels)
    data = pydicom.dcmread(path)
    del data.PixelData
    data.SOPClassUID = UID("1.3.12.2.1107.5.9.1")
    data.save_as(path)
    with pytest.raises(DataError, match="has no pixel data") as caught:
        open_dicom(path, percentiles=ALL)
    assert not isinstance(caught.value, NotAnImage)


def test_a_decoder_in_rust_that_panics_gives_one_sentence(tmp_path, levels, monkeypatch):
    """Its exception is not an Exception, and would end the audit."""

    class PanicException(BaseException):
        pass

    def panic(*args, **options):
        raise PanicException("index out of bounds")

    monkeypatch.setattr("pydicom.pixels.pixel_array", panic)
    with pytest.raises(DataError, match=r"x\.dcm: pixels cannot be decoded \(index out of bounds\)"):
        read_dicom(write(tmp_path / "x.dcm", levels), percentiles=ALL)
