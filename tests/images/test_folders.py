from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from deepssim.errors import DataError
from deepssim.images.files import FORMATS, read_each
from deepssim.images.folders import TreeSide, checksums, collect, decode, find_files, list_files
from tests.audit.folders import picture, write
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
    files = list_files(tmp_path)
    found = collect(tmp_path, files, [decode(path, (48, 48), ALL) for path in files])
    assert found.pack.keys == [
        "IM1#frame-000", "IM1#frame-001", "a/x.png", "b/x.png", "plane.nii.gz", "x.jpg", "x.tif",
    ]  # fmt: skip
    hashes = found.pixel_hashes
    assert hashes[0] == hashes[2] == hashes[3] == hashes[4]  # equal pixels in four files
    assert np.abs(found.pack.images[6].astype(int) - image).max() <= 1
    assert found.sizes == {"48x48": 7}


def test_volumes_become_slices_and_nearly_empty_ones_are_left_out(tmp_path, random):
    volume = np.zeros((20, 24, 5), np.float32)
    volume[..., 1:4] = 1 + random.random((20, 24, 3))
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1, -1, 1])), tmp_path / "x.nii")
    decoded = decode(tmp_path / "x.nii", (24, 20), ALL)
    assert decoded.parts == ["axial-001", "axial-002", "axial-003"]
    assert decoded.images.shape == (3, 24, 20)


def test_a_tree_of_the_reference_code_is_divided(tmp_path, random):
    for name in ("r1/training.png", "r1/gen-0.png", "r1/gen-1.png", "r2/training.png"):
        write(tmp_path / name, picture(random))
    names = [[path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path, side=side)] for side in TreeSide]
    real, generated = ["r1/training.png", "r2/training.png"], ["r1/gen-0.png", "r1/gen-1.png"]
    assert names == [real, generated, sorted(real + generated)]


def test_a_tree_may_hold_any_format(tmp_path, random):
    for record in ("r1", "r2"):
        (tmp_path / record).mkdir()
        nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 1)), np.eye(4)), tmp_path / record / "training.nii.gz")
        write_dicom(tmp_path / record / "gen-0.dcm", picture(random), bits=8)
    write(tmp_path / "other" / "scan.png", picture(random))  # belongs to neither side, so to both
    names = [[path.name for path in list_files(tmp_path, side=side)] for side in TreeSide]
    assert names[0] == ["scan.png", "training.nii.gz", "training.nii.gz"]
    assert names[1] == ["scan.png", "gen-0.dcm", "gen-0.dcm"]


def test_a_folder_without_generated_images_has_no_sides(tmp_path, random):
    for name in ("training.png", "scan.png"):
        write(tmp_path / name, picture(random))
    for side in TreeSide:
        assert [path.name for path in list_files(tmp_path, side=side)] == ["scan.png", "training.png"]


def test_hidden_files_and_folders_are_left_out_by_every_pattern(tmp_path, random):
    for name in ("a/x.png", "a/.x.png", ".b/x.png", "a/.c/x.png"):
        write(tmp_path / name, picture(random))
    for patterns in (["**/*"], ["a/*", ".b/*", "**/x.png"], ["**/*", "*/*"]):
        found = find_files(tmp_path, patterns=patterns)
        assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/x.png"]
    (tmp_path / ".b" / "x.png").rename(tmp_path / "b.png")
    hidden = tmp_path / ".root"
    write(hidden / "x.png", picture(random))
    assert find_files(hidden) == [hidden / "x.png"]  # the folder itself is the user's choice


def test_patterns_and_formats_restrict_the_files(tmp_path, random):
    for name in ("a_T1.png", "a_T2.png", "sub/b_T1.png"):
        write(tmp_path / name, picture(random))
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 9)), np.eye(4)), tmp_path / "c_T1.nii")
    (tmp_path / "d_T1.png").mkdir()
    names = [path.name for path in find_files(tmp_path, patterns=["**/*_T1*", "*_T1.png"])]
    assert names == ["a_T1.png", "c_T1.nii", "b_T1.png"]
    volumes = [known for known in FORMATS if known.volume]
    assert [path.name for path in find_files(tmp_path, formats=volumes)] == ["c_T1.nii"]
    with pytest.raises(
        DataError,
        match=r"has no image that matches '\*_T2\*'; it needs files that end in \.nii, \.nii\.gz, .*; do this",
    ):
        list_files(tmp_path, patterns=["*_T2*"], formats=volumes, advice="do this")
    with pytest.raises(DataError, match="cannot be searched for '/absolute'"):
        find_files(tmp_path, patterns=["/absolute"])


def test_checksums_are_those_of_the_content(tmp_path, random):
    image = picture(random)
    for name in ("a.png", "b.png"):
        write(tmp_path / name, image)
    write(tmp_path / "c.png", image[::-1])
    first, second, third = checksums([tmp_path / f"{name}.png" for name in "abc"], 2)
    assert first == second != third


@pytest.mark.parametrize(
    ("header", "values"),
    [("a.hdr", "a.img"), ("a.hdr", "a.img.gz"), ("A.HDR", "a.img"), ("a.mhd", "b.bin"), ("a.nhdr", "b.bin")],
)
def test_checksums_of_headers_cover_the_values_beside_them(tmp_path, header, values):
    texts = {".mhd": "NDims = 2\nElementDataFile = b.bin\n", ".nhdr": "NRRD0004\ndata file: b.bin\n"}
    text = texts.get(Path(header).suffix, "x")
    found = []
    for name in "one", "two":
        (tmp_path / name).mkdir()
        (tmp_path / name / header).write_text(text)
        (tmp_path / name / values).write_text(name)
        (tmp_path / name / "other.img").write_text(name)
        found.append(tmp_path / name / header)
    assert len(set(checksums(found, 1))) == 1
    assert len(set(checksums(found, 1, with_values=True))) == 2
    (tmp_path / "two" / values).write_text("one")
    assert len(set(checksums(found, 1, with_values=True))) == 1


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
        list_files(tmp_path / "none")
    with pytest.raises(DataError, match=r"has no image; it needs files that end in \.png.*\.ima; name a folder"):
        list_files(tmp_path)
    assert find_files(tmp_path) == []
