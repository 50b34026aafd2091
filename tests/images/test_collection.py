import nibabel
import numpy as np
import pytest
from PIL import Image

from deepssim.errors import DataError
from deepssim.images.collection import checksums, collect, decode, list_files
from deepssim.images.reading import read_each
from tests.audit_data import picture, write
from tests.images.test_dicom import write as write_dicom

ALL = (0.0, 100.0)


def test_files_of_all_formats_are_found_and_read(tmp_path, random):
    image = picture(random, 48)
    for name in ("b/x.png", "a/x.png", "x.jpg"):
        write(tmp_path / name, image)
    Image.fromarray(image.astype(np.uint16) * 257).save(tmp_path / "x.tif")
    nibabel.save(nibabel.Nifti1Image(image[::-1].T.astype(np.float32), np.eye(4)), tmp_path / "plane.nii.gz")
    write_dicom(tmp_path / "IM1", np.stack([image, image // 2]), bits=8)
    (tmp_path / "notes.txt").write_text("no image")
    write(tmp_path / ".hidden" / "x.png", image)
    files = list_files(tmp_path, synthetic=False)
    found = collect(tmp_path, files, [decode(path, (48, 48), ALL) for path in files])
    assert found.pack.keys == [
        "IM1#frame-000", "IM1#frame-001", "a/x.png", "b/x.png", "plane.nii.gz", "x.jpg", "x.tif",
    ]  # fmt: skip
    assert found.content[0] == found.content[2] == found.content[3] == found.content[4]  # equal pixels in four files
    assert np.abs(found.pack.images[6].astype(int) - image).max() <= 1
    assert found.sizes == {"48x48": 7}


def test_volumes_become_slices_and_nearly_empty_ones_are_left_out(tmp_path, random):
    volume = np.zeros((20, 24, 5), np.float32)
    volume[..., 1:4] = 1 + random.random((20, 24, 3))
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "x.nii")
    decoded = decode(tmp_path / "x.nii", (24, 20), ALL)
    assert decoded.parts == ["slice-001", "slice-002", "slice-003"]
    assert decoded.images.shape == (3, 24, 20)


def test_a_tree_of_the_reference_code_is_divided(tmp_path, random):
    for name in ("r1/training.png", "r1/gen-0.png", "r1/gen-1.png", "r2/training.png"):
        write(tmp_path / name, picture(random))
    names = [
        [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path, synthetic=side)]
        for side in (False, True)
    ]
    assert names == [["r1/training.png", "r2/training.png"], ["r1/gen-0.png", "r1/gen-1.png"]]


def test_checksums_are_those_of_the_content(tmp_path, random):
    image = picture(random)
    for name in ("a.png", "b.png"):
        write(tmp_path / name, image)
    write(tmp_path / "c.png", image[::-1])
    first, second, third = checksums([tmp_path / f"{name}.png" for name in "abc"], 2)
    assert first == second != third


def test_constant_and_unreadable_images_are_named(tmp_path, random):
    write(tmp_path / "flat.png", np.full((9, 9), 3, np.uint8))
    files = [tmp_path / "flat.png"]
    with pytest.raises(DataError, match="all 1 images are constant"):
        collect(tmp_path, files, [decode(path, (9, 9), ALL) for path in files])
    (tmp_path / "bad.png").write_bytes(b"")
    files += [tmp_path / "bad.png"]
    with pytest.raises(DataError, match=r"here: 1 of 2 files cannot be used, first .*bad\.png"):
        read_each(files, lambda path: decode(path, (9, 9), ALL), threads=1, place="here")


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        list_files(tmp_path / "none", synthetic=False)
    with pytest.raises(DataError, match="has no image"):
        list_files(tmp_path, synthetic=False)
