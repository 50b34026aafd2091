"""NRRD and MetaImage, against the writers of SimpleITK."""

import builtins
import gzip

import numpy as np
import pytest

from deepssim.errors import DataError, NotAnImage
from deepssim.images.files import read_contents
from deepssim.images.grey import MIXED
from deepssim.images.metaimage import METAIMAGE_SUFFIXES, read_metaimage
from deepssim.images.nrrd import NRRD_SUFFIXES, read_nrrd
from deepssim.images.volumes import COLOUR, NOT_ORIENTED

sitk = pytest.importorskip("SimpleITK")
ALL = (0.0, 100.0)
SUFFIXES = NRRD_SUFFIXES + METAIMAGE_SUFFIXES


def read_itk(path):
    return (read_nrrd if path.suffix in NRRD_SUFFIXES else read_metaimage)(path)


def voxels(volume):
    """Return all values in their unit, float32 (X, Y, Z, N)."""
    shape = volume.values.shape
    planes = [[volume.plane(number, 2, index) for index in range(shape[2])] for number in range(shape[3])]
    return np.transpose(np.array(planes), (2, 3, 1, 0))


def image(values, *, vector=False, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), origin=(5, 6, 7), spacing=(1, 1, 1)):
    """Return an ITK image of an array (X, Y, Z) or, with components, (X, Y, Z, C)."""
    axes = (2, 1, 0, 3) if values.ndim == 4 else (2, 1, 0)
    made = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(axes)), isVector=vector)
    made.SetDirection(direction)
    made.SetOrigin(origin)
    made.SetSpacing(spacing)
    return made


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("stored", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_are_those_that_were_written(tmp_path, random, suffix, stored, packed):
    values = random.integers(1, 99, (4, 5, 6)).astype(stored)
    sitk.WriteImage(image(values), str(tmp_path / f"x{suffix}"), packed)
    found = read_itk(tmp_path / f"x{suffix}")
    assert (found.codes, list(found.spacing)) == ("LPS", [1, 1, 1])
    np.testing.assert_array_equal(voxels(found)[..., 0], values[::-1, ::-1].astype(np.float32))
    for beside in set(tmp_path.iterdir()) - {tmp_path / f"x{suffix}"}:
        with pytest.raises(NotAnImage, match=rf"holds the values of x{suffix}, which is read instead"):
            read_contents(beside, percentiles=ALL)


def test_values_that_no_header_names_are_not_passed_over(tmp_path):
    text = "NDims = 2\nDimSize = 9 8\nElementType = MET_UCHAR\nElementDataFile = other.bin\n"
    (tmp_path / "x.mhd").write_text(text)
    (tmp_path / "other.bin").write_bytes(bytes(range(72)))
    (tmp_path / "x.raw").write_bytes(bytes(72))
    assert read_metaimage(tmp_path / "x.mhd").values.shape == (9, 8, 1, 1)
    with pytest.raises(DataError, match="holds values without a header") as caught:
        read_contents(tmp_path / "x.raw", percentiles=ALL)
    assert not isinstance(caught.value, NotAnImage)
    (tmp_path / "other.bin").write_bytes(bytes(144))
    with pytest.raises(DataError, match="so that images may be missing"):
        read_metaimage(tmp_path / "x.mhd")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_axes_follow_the_direction(tmp_path, random, suffix):
    """Against SimpleITK's own filter."""
    values = random.integers(1, 99, (4, 5, 6)).astype(np.int16)
    made = image(values, direction=(0, 0, 1, -1, 0, 0, 0, 1, 0), spacing=(1, 2, 3))
    sitk.WriteImage(made, str(tmp_path / f"x{suffix}"))
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(made, "RAS")).transpose(2, 1, 0)
    found = read_itk(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(voxels(found)[..., 0], expected)
    assert list(found.spacing) == list(sitk.DICOMOrient(made, "RAS").GetSpacing())


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_colour_components_and_times(tmp_path, random, suffix):
    path = tmp_path / f"x{suffix}"
    rgb = random.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    sitk.WriteImage(image(rgb, vector=True), str(path))
    contents = read_contents(path, percentiles=ALL)
    assert contents.facts.notices == (COLOUR, MIXED)  # random colours are unlike each other
    grey = rgb[::-1, ::-1, 3] @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(list(contents.frames)[3].pixels, grey.T[::-1], atol=1e-6)
    directions = random.integers(0, 999, (4, 5, 6, 7)).astype(np.int16)
    sitk.WriteImage(image(directions, vector=True), str(path))
    np.testing.assert_array_equal(voxels(read_itk(path)), directions[::-1, ::-1])
    times = sitk.JoinSeries([image(directions[..., time].copy()) for time in range(7)])
    sitk.WriteImage(times, str(path))
    np.testing.assert_array_equal(voxels(read_itk(path)), directions[::-1, ::-1])


def test_a_plane_and_an_image_without_orientation(tmp_path, random):
    plane = random.integers(1, 99, (4, 5)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(plane.T), str(tmp_path / "x.mha"))
    (frame,) = read_contents(tmp_path / "x.mha", percentiles=ALL).frames
    np.testing.assert_allclose(frame.pixels, plane.T / plane.max(), atol=1e-6)
    sitk.WriteImage(sitk.GetImageFromArray(random.integers(1, 99, (4, 5, 6))), str(tmp_path / "y.nrrd"))
    contents = read_contents(tmp_path / "y.nrrd", percentiles=ALL)
    assert contents.facts.notices == (NOT_ORIENTED,)
    assert len(list(contents.frames)) == 15


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".nii.gz"])
def test_pictures_that_itk_wrote_are_upright(tmp_path, random, suffix):
    pictures = random.integers(1, 99, (6, 5, 4)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(pictures), str(tmp_path / f"x{suffix}"))
    frames = [
        frame for frame in read_contents(tmp_path / f"x{suffix}", percentiles=ALL).frames if "axial" in frame.part
    ]
    np.testing.assert_allclose([frame.pixels for frame in frames], pictures / pictures.max(), atol=1e-6)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.raw", "a\\b.raw", "LIST", "slice%03d.raw", ".."])
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_values_elsewhere_are_refused(tmp_path, random, suffix, name):
    path = tmp_path / "in" / f"x{suffix}"
    path.parent.mkdir()
    sitk.WriteImage(image(random.integers(1, 99, (4, 5, 6)).astype(np.int16)), str(path))
    own = next(other for other in path.parent.iterdir() if other != path)
    own.rename(tmp_path / "secret.raw")
    path.write_text(path.read_text().replace(own.name, name))
    with pytest.raises(DataError, match="as the file of its values, which must be one file in the same folder"):
        read_itk(path)


def test_damaged_files_are_named(tmp_path, random):
    for suffix in SUFFIXES:
        path = tmp_path / f"x{suffix}"
        sitk.WriteImage(image(random.integers(1, 99, (14, 15, 16)).astype(np.int16)), str(path))
        content = path.read_bytes()
        for damaged in (content[: len(content) // 2], b"", b"nonsense" * 99):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=rf"x\{suffix}: "):
                read_itk(path)
        if suffix in (".nhdr", ".mhd"):
            path.write_bytes(content)
            next(other for other in tmp_path.iterdir() if other.suffix in (".raw", ".zraw", ".gz")).unlink()
            with pytest.raises(DataError, match="are missing; put them beside it"):
                read_itk(path)


def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path, random):
    path = tmp_path / "x.nrrd"
    head = b"NRRD0004\ntype: double\ndimension: 3\nsizes: %d %d %d\nendian: little\nencoding: gzip\n\n"
    path.write_bytes(head % (600, 600, 600) + gzip.compress(bytes(10**5)))
    with pytest.raises(DataError, match="declares 1,728,000,000 bytes, far more than it can hold"):
        read_itk(path)
    path.write_bytes(head % (3000, 3000, 3000) + gzip.compress(bytes(10**5)))
    with pytest.raises(DataError, match="declares 27,000,000,000 pixels or voxels"):
        read_itk(path)


def test_without_simpleitk_its_name_is_in_the_message(tmp_path, random, monkeypatch):
    path = tmp_path / "x.nrrd"
    sitk.WriteImage(image(random.integers(1, 99, (4, 5, 6)).astype(np.int16)), str(path))
    given = builtins.__import__

    def without(name, *rest):
        if name == "SimpleITK":
            raise ImportError(name)
        return given(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"needs SimpleITK; install it \(pip install SimpleITK\)"):
        read_itk(path)


def test_damage_within_compressed_values_of_metaimage_is_noticed(tmp_path, random):
    """Damage that zlib can unpack is told by the checksum behind the last value only."""
    path = tmp_path / "x.mha"
    values = random.integers(0, 4, (16, 16, 16)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), True)
    content = bytearray(path.read_bytes())
    assert read_metaimage(path).values.shape == (16, 16, 16, 1)
    content[-1] ^= 1  # of the checksum
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mha: cannot be read as MetaImage"):
        read_metaimage(path)
    path.write_bytes(content[:-2])
    with pytest.raises(DataError, match="or its end is missing"):
        read_metaimage(path)
