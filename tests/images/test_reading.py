import nibabel
import numpy as np
import pytest
from PIL import Image

from deepssim.errors import DataError
from deepssim.images.reading import read_image, read_volume

ALL = (0.0, 100.0)


@pytest.fixture
def levels(random) -> np.ndarray:
    return random.integers(0, 256, (12, 10), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_eight_bit_images_are_read_exactly(tmp_path, levels, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(levels).save(path)
    np.testing.assert_array_equal(read_image(path, percentiles=ALL), levels.astype(np.float32) / np.float32(255))


def test_jpeg_and_colour_become_grey(tmp_path):
    Image.new("RGB", (6, 4), (255, 255, 255)).save(tmp_path / "x.jpg", quality=95)
    assert read_image(tmp_path / "x.jpg", percentiles=ALL).shape == (4, 6)
    assert read_image(tmp_path / "x.jpg", percentiles=ALL).min() > 0.98


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_images_use_the_window(tmp_path, suffix):
    values = np.array([[0, 1000], [2000, 4000]], np.uint16)  # 12 bits in a 16-bit file
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(values).save(path)
    np.testing.assert_allclose(read_image(path, percentiles=ALL), values / 4000)


@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_damaged_images_are_named(tmp_path, random, keep):
    path = tmp_path / "x.png"
    Image.fromarray(random.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"x\.png: (is not an image|cannot be decoded)"):
        read_image(path, percentiles=ALL)


def test_volumes_are_reoriented_to_ras(tmp_path):
    values = np.zeros((4, 5, 6), np.float32)
    values[0, 1, 2] = 10
    affine = np.diag([-1.0, 1, 1, 1])  # first axis points left
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "x.nii.gz")
    read = read_volume(tmp_path / "x.nii.gz", percentiles=ALL)
    assert np.argwhere(read == 1).tolist() == [[3, 1, 2]]


def test_damaged_and_flat_volumes_are_named(tmp_path, random):
    path = tmp_path / "x.nii.gz"
    nibabel.save(nibabel.Nifti1Image(random.random((20, 20, 20)), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"x\.nii\.gz: cannot be read as NIfTI"):
        read_volume(path, percentiles=ALL)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4)), np.eye(4)), tmp_path / "flat.nii")
    with pytest.raises(DataError, match="has 2 dimensions"):
        read_volume(tmp_path / "flat.nii", percentiles=ALL)
    nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), np.nan), np.eye(4)), tmp_path / "nan.nii")
    with pytest.raises(DataError, match="64 values that are not finite"):
        read_volume(tmp_path / "nan.nii", percentiles=ALL)


def test_real_volume_is_a_head(real_data):
    volume = read_volume(real_data / "mri_volumes" / "patient07_T1.nii.gz", percentiles=(0.5, 99.5))
    assert volume.shape == (182, 218, 182)
    assert (volume.min(), volume.max()) == (0, 1)
    assert 0.1 < (volume > 0).mean() < 0.5  # skull-stripped brain in a black box
