import gzip

import nibabel
import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.images.nifti import read_nifti

ALL = (0.0, 100.0)


def test_volumes_are_reoriented_to_ras(tmp_path):
    values = np.zeros((4, 5, 6), np.float32)
    values[0, 1, 2] = 10
    affine = np.diag([-1.0, 1, 1, 1])  # first axis points left
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "x.nii.gz")
    read = read_nifti(tmp_path / "x.nii.gz", percentiles=ALL)
    assert np.argwhere(read == 1).tolist() == [[3, 1, 2]]


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "X.NII.GZ"])
def test_versions_and_compression_are_recognised_by_content(tmp_path, random, kind, name):
    values = random.integers(1, 1000, (5, 4, 3)).astype(np.int16)
    content = kind(values, np.eye(4), dtype=np.int16).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
    np.testing.assert_allclose(read_nifti(tmp_path / name, percentiles=ALL), values / values.max(), rtol=1e-6)


def test_a_plane_is_a_volume_of_one_slice(tmp_path, random):
    values = random.random((5, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "x.nii")
    assert read_nifti(tmp_path / "x.nii", percentiles=ALL).shape == (5, 4, 1)


def test_damaged_and_unsuitable_volumes_are_named(tmp_path, random):
    path = tmp_path / "x.nii.gz"
    nibabel.save(nibabel.Nifti1Image(random.random((20, 20, 20)), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"x\.nii\.gz: cannot be read as NIfTI"):
        read_nifti(path, percentiles=ALL)
    for shape in ((4,), (4, 4, 4, 2)):
        nibabel.save(nibabel.Nifti1Image(np.zeros(shape), np.eye(4)), tmp_path / "y.nii")
        with pytest.raises(DataError, match=f"has {len(shape)} dimensions; expected one 3D volume"):
            read_nifti(tmp_path / "y.nii", percentiles=ALL)
    nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), np.nan), np.eye(4)), tmp_path / "nan.nii")
    with pytest.raises(DataError, match="64 values that are not finite"):
        read_nifti(tmp_path / "nan.nii", percentiles=ALL)


def test_real_volume_is_a_head(real_data):
    volume = read_nifti(real_data / "mri_volumes" / "patient07_T1.nii.gz", percentiles=(0.5, 99.5))
    assert volume.shape == (182, 218, 182)
    assert (volume.min(), volume.max()) == (0, 1)
    assert 0.1 < (volume > 0).mean() < 0.5  # skull-stripped brain in a black box
