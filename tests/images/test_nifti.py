import gzip

import nibabel
import numpy as np
import pytest

from deepssim.config.choices import Axis
from deepssim.errors import DataError, NotAnImage
from deepssim.images.files import ALL_SLICES, read_contents, read_file
from deepssim.images.nifti import read_volume
from deepssim.images.standardize import window
from deepssim.images.volumes import NOT_FINITE, NOT_ORIENTED, NOT_SQUARE

ALL = (0.0, 100.0)
MNI = np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])


def values_of(path):
    """Return the values as read, in their unit, shape (X, Y, Z, N)."""
    volume = read_volume(path)
    planes = [[volume.plane(number, 2, index) for index in range(volume.values.shape[2])]
              for number in range(volume.values.shape[3])]  # fmt: skip
    return np.transpose(np.array(planes), (2, 3, 1, 0))


def canonical(path):
    image = nibabel.as_closest_canonical(nibabel.load(path))
    values = image.get_fdata()
    return values[..., None] if values.ndim == 3 else values


def test_volumes_are_reoriented_to_ras(tmp_path):
    values = np.zeros((4, 5, 6), np.float32)
    values[0, 1, 2] = 10
    nibabel.save(
        nibabel.Nifti1Image(values, np.diag([-1.0, 1, 1, 1])), tmp_path / "x.nii.gz"
    )  # the first axis points left
    assert np.argwhere(values_of(tmp_path / "x.nii.gz") == 10).tolist() == [[3, 1, 2, 0]]
    assert read_volume(tmp_path / "x.nii.gz").codes == "LAS"


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2), (0, 2, 1)])
def test_every_orientation_gives_the_same_slices(tmp_path, random, order):
    """Spacings travel with their axes."""
    values = random.integers(1, 999, (6, 7, 8)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2, 3, 1]) @ MNI), tmp_path / "a.nii")
    turned = nibabel.load(tmp_path / "a.nii").as_reoriented(
        np.array([[axis, sign] for axis, sign in zip(order, (1, -1, -1), strict=True)])
    )
    nibabel.save(turned, tmp_path / "b.nii")
    first, second = (read_file(tmp_path / name, percentiles=ALL) for name in ("a.nii", "b.nii"))
    for frame, other in zip(first, second, strict=True):
        assert frame.part == other.part
        np.testing.assert_array_equal(frame.pixels, other.pixels)
        assert frame.pixels.shape == (14, 6)  # 2 mm between rows


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "X.NII.GZ"])
@pytest.mark.parametrize("stored", [np.int16, np.uint8, np.int64, np.float64, ">i2", ">f4"])
def test_versions_types_and_compression_are_recognised_by_content(tmp_path, random, kind, name, stored):
    values = random.integers(1, 100, (5, 4, 3)).astype(stored)
    content = kind(values, MNI, dtype=np.dtype(stored).type).to_bytes()
    if np.dtype(stored).byteorder == ">":
        content = kind(values, MNI, header=kind.header_class(endianness=">"), dtype=np.dtype(stored).type).to_bytes()
        assert content[0] == 0
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
    np.testing.assert_array_equal(values_of(tmp_path / name)[..., 0], values[::-1].astype(np.float32))


def test_scale_factors_are_applied(tmp_path, random):
    stored = random.integers(1, 1000, (5, 4, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(stored, MNI)
    image.header.set_slope_inter(0.37, -40)
    nibabel.save(image, tmp_path / "x.nii")
    np.testing.assert_allclose(values_of(tmp_path / "x.nii"), canonical(tmp_path / "x.nii"), rtol=1e-6)


def test_a_plane_is_one_image(tmp_path, random):
    values = random.random((5, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    contents = read_contents(tmp_path / "x.nii", percentiles=ALL)
    (frame,) = contents.frames
    assert (frame.part, contents.facts.notices) == ("", ())
    np.testing.assert_array_equal(frame.pixels, window(values, ALL).T[::-1])


def nothing(image):
    image.set_sform(None, 0)
    image.set_qform(None, 0)


@pytest.mark.parametrize(
    ("affine", "change", "known"),
    [
        (MNI, None, True),
        (MNI, nothing, False),  # both form codes are zero
        (np.eye(4), None, False),
        (np.diag([2.0, 2, 2, 1]), None, False),  # voxel sizes only
        (np.diag([-1.0, -1, 1, 1]), None, False),  # what ITK writes by default
        (np.diag([-1.0, 1, 1, 1]), None, True),
        (np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]), None, True),
    ],
)
def test_a_volume_that_does_not_record_its_orientation_is_cut_along_all_axes(tmp_path, random, affine, change, known):
    image = nibabel.Nifti1Image(random.integers(1, 99, (4, 5, 6)).astype(np.int16), affine)
    if change:
        change(image)
    nibabel.save(image, tmp_path / "x.nii")
    contents = read_contents(tmp_path / "x.nii", percentiles=ALL)
    axes = {frame.part[:-4] for frame in contents.frames}
    assert axes == ({"axial"} if known else {"axial", "coronal", "sagittal"})
    assert contents.facts.orientation == ("".join(nibabel.aff2axcodes(affine)) if known else "")
    assert contents.facts.notices == (() if known else (NOT_ORIENTED,))
    chosen = ALL_SLICES.model_copy(update={"axis": Axis.CORONAL, "unoriented_axis": None})
    assert {frame.part[:-4] for frame in read_contents(tmp_path / "x.nii", percentiles=ALL, slicing=chosen).frames} == {
        "coronal"
    }


def test_values_that_are_not_finite_are_background_with_a_notice(tmp_path, random):
    values = random.integers(1, 99, (4, 5, 6)).astype(np.float32)
    values[0] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, MNI), tmp_path / "x.nii")
    contents = read_contents(tmp_path / "x.nii", percentiles=ALL)
    assert contents.facts.notices == (NOT_FINITE,)
    assert all((frame.pixels[:, -1] == 0).all() for frame in contents.frames)


def test_pairs_of_header_and_values(tmp_path, random):
    values = random.integers(1, 999, (4, 5, 6)).astype(np.int16)
    for name, image in (
        ("nifti", nibabel.Nifti1Pair(values, MNI)),
        ("analyze", nibabel.AnalyzeImage(values, np.diag([1.0, 1, 4, 1]))),
    ):
        nibabel.save(image, tmp_path / f"{name}.img")
        loaded = read_contents(tmp_path / f"{name}.hdr", percentiles=ALL)
        assert len(list(loaded.frames)) == (6 if name == "nifti" else 15)
        assert loaded.facts.notices == (() if name == "nifti" else (NOT_ORIENTED, NOT_SQUARE))
        expected = values[::-1] if name == "nifti" else values
        np.testing.assert_array_equal(values_of(tmp_path / f"{name}.hdr")[..., 0], expected)
        with pytest.raises(NotAnImage, match=rf"{name}\.img: holds the values of {name}\.hdr, which is read instead"):
            read_contents(tmp_path / f"{name}.img", percentiles=ALL)
        (tmp_path / f"{name}.hdr").rename(tmp_path / "other.hdr")
        with pytest.raises(DataError, match=r"holds values without a header; put .*\.hdr beside it") as caught:
            read_contents(tmp_path / f"{name}.img", percentiles=ALL)
        assert not isinstance(caught.value, NotAnImage)
        with pytest.raises(DataError, match=r"other\.hdr: its values, other\.img, are missing"):
            read_contents(tmp_path / "other.hdr", percentiles=ALL)


@pytest.mark.parametrize("name", ["x.mgh", "x.mgz"])
def test_mgh(tmp_path, random, name):
    values = random.integers(1, 999, (4, 5, 6)).astype(np.int16)
    nibabel.save(nibabel.MGHImage(values, MNI), tmp_path / name)
    np.testing.assert_array_equal(values_of(tmp_path / name)[..., 0], values[::-1])
    assert read_volume(tmp_path / name).codes == "LAS"
    content = bytearray(
        (tmp_path / name).read_bytes() if name.endswith("h") else gzip.decompress((tmp_path / name).read_bytes())
    )
    content[28:30] = b"\0\0"  # goodRASFlag
    (tmp_path / name).write_bytes(content)
    assert read_volume(tmp_path / name).codes == ""


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_slices_that_the_header_does_not_declare_are_not_passed_over(tmp_path, random, name):
    content = nibabel.Nifti1Image(random.integers(1, 99, (8, 9, 3)).astype(np.uint8), MNI).to_bytes()
    fewer = bytearray(content)
    fewer[46:48] = (2).to_bytes(2, "little")
    pack = gzip.compress if name.endswith("gz") else bytes
    (tmp_path / name).write_bytes(pack(bytes(fewer)))
    with pytest.raises(DataError, match="so that images may be missing"):
        read_volume(tmp_path / name)
    (tmp_path / name).write_bytes(pack(content + bytes(8 * 9 - 1)))  # less than a slice is filling
    assert read_volume(tmp_path / name).values.shape == (8, 9, 3, 1)


def test_damaged_and_unsuitable_volumes_are_named(tmp_path, random):
    path = tmp_path / "x.nii.gz"
    nibabel.save(nibabel.Nifti1Image(random.random((20, 20, 20)), np.eye(4)), path)
    whole = path.read_bytes()
    for content in (whole[:2000], whole[:-4], whole[:-9] + b"\0" + whole[-8:], b"", whole[:100]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.nii\.gz: cannot be read as a volume"):
            read_volume(path)
    nibabel.save(nibabel.Nifti1Image(random.random((9, 9, 9)), np.eye(4)), tmp_path / "z.nii")
    (tmp_path / "z.nii").write_bytes((tmp_path / "z.nii").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"has fewer than the 6,184 bytes that its header declares"):
        read_volume(tmp_path / "z.nii")


def test_files_without_images_are_named(tmp_path, random):
    for shape, reason in (((4,), "a single row"), ((1, 7, 1), "a single row"), ((4, 0, 5), "no voxels")):
        nibabel.save(nibabel.Nifti1Image(np.zeros(shape), np.eye(4)), tmp_path / "y.nii")
        with pytest.raises(NotAnImage, match=reason):
            read_volume(tmp_path / "y.nii")
    image = nibabel.Nifti2Image(random.random((1, 1, 1, 1, 5, 7)), np.eye(4))
    image.header["intent_code"] = 3002
    nibabel.save(image, tmp_path / "z.dscalar.nii")
    with pytest.raises(NotAnImage, match="CIFTI"):
        read_volume(tmp_path / "z.dscalar.nii")


def test_real_volume_is_a_head(real_data):
    frames = read_file(real_data / "mri_volumes" / "patient07_T1.nii.gz", percentiles=(0.5, 99.5))
    pixels = np.stack([frame.pixels for frame in frames])
    assert pixels.shape[1:] == (218, 182)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert 0.1 < (pixels > 0).mean() < 0.5  # skull-stripped brain in a black box


def test_slices_of_a_real_volume_with_negative_values_are_left_out_where_empty(real_data):
    """T1 after contrast, interpolated: values below zero would make the background grey and every slice full."""
    contents = read_contents(real_data / "mri_volumes" / "patient19_T1POST.nii.gz", percentiles=(0.5, 99.5))
    frames = list(contents.frames)
    assert len(frames) == 182
    assert 20 < sum(bool(frame.left_out) for frame in frames) < 80
    assert all(frame.pixels[0, 0] == 0 for frame in frames)
