from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.images.minc import read_minc
from tests.images.test_nrrd import voxels

DATA = Path(nibabel.__file__).parent / "tests" / "data"
FILES = (
    "tiny.mnc",
    "small.mnc",
    "minc1_1_scale.mnc",
    "minc1_4d.mnc",
    "minc2_1_scale.mnc",
    "minc2_4d.mnc",
    "minc2-4d-d.mnc",
)


@pytest.mark.parametrize("name", FILES)
def test_values_and_axes_are_those_of_nibabel(name):
    image = nibabel.load(DATA / name)
    expected, found = image.get_fdata(), read_minc(DATA / name)
    if expected.ndim == 4:
        expected = np.moveaxis(expected, 0, -1)
    expected = nibabel.orientations.apply_orientation(expected, nibabel.io_orientation(image.affine))
    np.testing.assert_allclose(voxels(found), expected.reshape(*expected.shape[:3], -1), rtol=1e-5, atol=1e-6)
    assert found.codes == "".join(nibabel.aff2axcodes(image.affine))


def test_damaged_files_are_named(tmp_path):
    for name in ("tiny.mnc", "minc2_1_scale.mnc"):
        content = (DATA / name).read_bytes()
        for damaged in (content[: len(content) // 2], content[:20], b""):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(DataError, match=rf"{name}: (cannot be read as MINC|'minc-2.0)"):
                read_minc(tmp_path / name)


def test_values_of_another_file_are_refused(tmp_path):
    path = tmp_path / "x.mnc"
    path.write_bytes((DATA / "minc2_1_scale.mnc").read_bytes())
    (tmp_path / "secret.bin").write_bytes(bytes(4000))
    with h5py.File(path, "r+") as file:
        del file["minc-2.0/image/0/image"]
        file["minc-2.0/image/0"].create_dataset(
            "image", (10, 20, 20), np.uint8, external=[(str(tmp_path / "secret.bin"), 0, 4000)]
        )
    with pytest.raises(DataError, match="is stored in other files"):
        read_minc(path)
