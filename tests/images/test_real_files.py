"""Files of scanners and of other programs, which pydicom and nibabel carry, against the readers of those packages."""

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut

from deepssim.config.choices import Axis
from deepssim.errors import DataError, NotAnImage
from deepssim.images.files import ALL_SLICES, read_contents
from deepssim.images.standardize import window

WINDOW = (0.5, 99.5)
DICOM = Path(pydicom.__file__).parent / "data" / "test_files"
NIBABEL = Path(nibabel.__file__).parent / "tests" / "data"
SLICING = ALL_SLICES.model_copy(update={"square_pixels": False, "min_foreground": 0.0, "unoriented_axis": Axis.AXIAL})
WEIGHTS = np.array([0.299, 0.587, 0.114])
SMALL = "dicomdirtests/"

SCANS = {  # by kind; each with what its transfer syntax needs
    "explicit little endian": ("CT_small.dcm", "MR_small.dcm", "MR_small_padded.dcm", "rtdose_1frame.dcm"),
    "implicit": ("MR_small_implicit.dcm", "rtdose.dcm"),
    "big endian": ("MR_small_bigendian.dcm", "MR_small_expb.dcm", "rtdose_expb.dcm"),
    "RLE": ("MR_small_RLE.dcm", "rtdose_rle.dcm", "rtdose_rle_1frame.dcm"),
    "JPEG 2000": ("693_J2KI.dcm", "JPEG2000.dcm", "MR_small_jp2klossless.dcm", "J2K_pixelrep_mismatch.dcm"),
    "JPEG-LS": ("MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm"),
    "JPEG Extended, 12 bits": ("JPGExtended.dcm", "JPEG-lossy.dcm"),
    "deflated": ("image_dfl.dcm",),
    "overlay": ("examples_overlay.dcm",),
    "names without extension": tuple(
        SMALL + name for name in ("77654033/CR1/6154", "77654033/CT2/17106", "98892003/MR1/15820", "98892001/CT5N/2062")
    ),
}
COLOUR = {
    "RGB": ("SC_rgb_small_odd.dcm", "examples_rgb_color.dcm", "SC_rgb_small_odd_big_endian.dcm"),
    "RGB, RLE": ("SC_rgb_rle.dcm", "SC_rgb_rle_16bit.dcm", "SC_rgb_rle_32bit_2frame.dcm"),
    "JPEG Lossless": ("SC_rgb_jpeg_gdcm.dcm",),
    "JPEG": (
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "examples_ybr_color.dcm",
    ),
    "YBR 4:2:2": ("SC_ybr_full_422_uncompressed.dcm",),
    "palette": ("examples_palette.dcm",),
    "JPEG 2000": ("examples_jpeg2k.dcm", "GDCMJ2K_TextGBR.dcm"),
}
NEEDS = {
    "JPEG 2000": "openjpeg",
    "JPEG-LS": "jpeg_ls",
    "JPEG Lossless": "imagecodecs",
    "JPEG Extended, 12 bits": "imagecodecs",
}
NO_IMAGES = {
    "reportsi.dcm": "structured report",
    "test-SR.dcm": "structured report",
    "rtplan.dcm": "RT plan",
    "ExplVR_LitEndNoMeta.dcm": "RT plan",
    "ExplVR_BigEndNoMeta.dcm": "RT plan",
    "rtstruct.dcm": "RT structure set",
    "waveform_ecg.dcm": "waveform",
    "liver_1frame.dcm": "segmentation",
    **{
        f"{SMALL}{name}": "DICOMDIR"
        for name in ("DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-empty.dcm")
    },
}
DAMAGED = {
    "MR_truncated.dcm": "pixels cannot be decoded",
    "UN_sequence.dcm": "has no pixel data",
    "badVR.dcm": "cannot be read as DICOM",
    "no_meta.dcm": "no element of an image",
    "JPEG2000-embedded-sequence-delimiter.dcm": "pixels cannot be decoded|needs another package",
}
VOLUMES = {
    "NIfTI": ("anatomical.nii", "functional.nii", "reoriented_anat_moved.nii", "standard.nii.gz", "example4d.nii.gz"),
    "NIfTI-2": ("example_nifti2.nii.gz",),
    "MGH": ("test.mgz",),
    "MINC 1": ("tiny.mnc", "small.mnc", "minc1_1_scale.mnc", "minc1_4d.mnc"),
    "MINC 2": ("minc2_1_scale.mnc", "minc2_4d.mnc", "minc2_baddim.mnc"),
}


def listed(kinds):
    return [pytest.param(kind, name, id=f"{kind}: {name}") for kind, names in kinds.items() for name in names]


def frames_of(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about these files
        contents = read_contents(path, percentiles=WINDOW, slicing=SLICING)
        return [frame.pixels for frame in contents.frames], contents.facts


def itk_pixels(path):
    sitk = pytest.importorskip("SimpleITK")
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]


def dataset(kind, name):
    """Return the data set and its frames, as pydicom decodes them."""
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(DICOM / name)
        # pydicom has no decoder for these of its own; that of ITK is another one.
        pixels = itk_pixels(DICOM / name) if NEEDS.get(kind) == "imagecodecs" else data.pixel_array
    return data, pixels if int(data.get("NumberOfFrames") or 1) > 1 else pixels[None]


@pytest.mark.parametrize(("kind", "name"), listed(SCANS))
def test_scans_are_those_of_pydicom(kind, name):
    data, pixels = dataset(kind, name)
    shown, facts = frames_of(DICOM / name)
    assert (facts.bits, facts.modality) == (data.BitsStored, data.get("Modality", ""))
    for frame, stored in zip(shown, pixels, strict=True):
        padding = data.get("PixelPaddingValue")
        inverted = data.PhotometricInterpretation == "MONOCHROME1"
        plain = 2**data.BitsStored - 1 - stored.astype(np.int64) if inverted else stored
        values = np.asarray(apply_modality_lut(plain, data), dtype=np.float32)
        if padding is not None and (stored == padding).any():
            values = np.where(stored == padding, values[stored != padding].min(), values)
        eight = data.BitsStored <= 8 and data.PixelRepresentation == 0 and "RescaleSlope" not in data
        expected = values / np.float32(255) if eight else window(values, WINDOW)
        np.testing.assert_allclose(frame, expected, atol=1e-5)
        assert frame.std() > 0.01 or "rtdose" in name


@pytest.mark.parametrize(("kind", "name"), listed(COLOUR))
def test_colour_is_that_of_pydicom_as_luminance(kind, name):
    data, pixels = dataset(kind, name)
    shown, _ = frames_of(DICOM / name)
    for frame, stored in zip(shown, pixels, strict=True):
        largest = 2**data.BitsStored - 1
        if kind == "palette":
            stored = apply_color_lut(stored, data)
            largest = np.iinfo(stored.dtype).max
        np.testing.assert_allclose(frame, stored / largest @ WEIGHTS, atol=1e-5)


@pytest.mark.parametrize("name", NO_IMAGES)
def test_files_without_images_are_told_from_damaged_ones(name):
    with pytest.raises(NotAnImage, match=NO_IMAGES[name]):
        frames_of(DICOM / name)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_not_passed_over(name):
    with pytest.raises(DataError, match=DAMAGED[name]) as caught:
        frames_of(DICOM / name)
    assert not isinstance(caught.value, NotAnImage)


@pytest.mark.parametrize(("kind", "name"), listed(VOLUMES))
def test_volumes_are_those_of_nibabel(kind, name):
    shown, facts = frames_of(NIBABEL / name)
    image = nibabel.load(NIBABEL / name)
    values = np.asarray(image.dataobj, dtype=np.float32)
    if values.ndim == 4 and kind.startswith("MINC"):
        values = np.moveaxis(values, 0, -1)
    if facts.orientation:
        values = nibabel.orientations.apply_orientation(values, nibabel.io_orientation(image.affine))
        assert facts.orientation == "".join(nibabel.aff2axcodes(image.affine))
    values = values.reshape(*values.shape[:3], -1)
    expected = [window(values[..., time], WINDOW)[:, :, index].T[::-1]
                for time in range(values.shape[3]) for index in range(values.shape[2])]  # fmt: skip
    for frame, picture in zip(shown, expected, strict=True):
        np.testing.assert_allclose(frame, picture, atol=1e-5)


def test_volumes_without_values_or_with_those_of_surfaces_are_named():
    with pytest.raises(NotAnImage, match="CIFTI"):
        frames_of(NIBABEL / "row_major.dconn.nii")
    for name in ("analyze.hdr", "nifti1.hdr", "nifti2.hdr"):
        with pytest.raises(DataError, match=r"its values, .*\.img, are missing"):
            frames_of(NIBABEL / name)
    _, facts = frames_of(NIBABEL / "resampled_anat_moved.nii")
    assert len(facts.notices) == 1  # NaN outside the field of view
