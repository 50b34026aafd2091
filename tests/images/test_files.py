import threading
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images import files
from deepssim.images.files import FORMATS, Format, format_of, read_each, read_file, read_image, stem_of
from deepssim.images.frames import Contents, name_frames
from tests.images.test_dicom import write as write_dicom

ALL = (0.0, 100.0)


@pytest.fixture
def levels(random) -> np.ndarray:
    return random.integers(0, 256, (12, 10), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("a.b.JPEG", "a.b"),
        ("a.nii.gz", "a"),
        ("a.nii", "a"),
        ("a.DCM", "a"),
        ("1.2.840.5", "1.2.840.5"),
        ("IM0001", "IM0001"),
        ("a.tar.gz", "a.tar.gz"),
    ],
)
def test_only_the_extension_of_a_known_format_is_taken_off(name, stem):
    assert stem_of(Path("folder", name)) == stem


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_images_without_extension_are_recognised_by_content(tmp_path, levels, kind):
    Image.fromarray(levels).save(tmp_path / "x", kind)
    assert format_of(tmp_path / "x") is FORMATS[0]
    assert read_image(tmp_path / "x", percentiles=ALL).shape == levels.shape


@pytest.mark.parametrize("content", [b"BM is how this note begins", b"hello" * 99])
def test_other_files_without_extension_are_no_images(tmp_path, content):
    (tmp_path / "notes").write_bytes(content)
    assert format_of(tmp_path / "notes") is None
    with pytest.raises(DataError, match=r"notes: is not an image of a known format \(.*NIfTI, .*DICOM.*\)"):
        read_file(tmp_path / "notes", percentiles=ALL)


def test_an_empty_file_is_called_so(tmp_path):
    (tmp_path / "x.png").touch()
    with pytest.raises(DataError, match=r"x\.png: is empty \(0 bytes\)"):
        read_file(tmp_path / "x.png", percentiles=ALL)


def test_a_pointer_names_the_command_that_fetches_its_content(tmp_path):
    (tmp_path / "x.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DataError, match="fetch it with `git lfs pull`"):
        read_file(tmp_path / "x.png", percentiles=ALL)
    (tmp_path / "y.nii").write_text("/annex/objects/SHA256E-s1--0.nii\n")
    with pytest.raises(DataError, match="fetch it with `git annex get`"):
        read_file(tmp_path / "y.nii", percentiles=ALL)


def test_a_file_with_an_unknown_extension_is_read_by_content(tmp_path, levels):
    Image.fromarray(levels).save(tmp_path / "x.image", "PNG")
    assert format_of(tmp_path / "x.image") is FORMATS[0]
    np.testing.assert_array_equal(
        read_image(tmp_path / "x.image", percentiles=ALL), levels.astype(np.float32) / np.float32(255)
    )


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"x\.png: does not exist or is not a file"):
        read_file(tmp_path / "x.png", percentiles=ALL)
    (tmp_path / "x.png").mkdir()
    with pytest.raises(DataError, match=r"x\.png: does not exist or is not a file"):
        read_file(tmp_path / "x.png", percentiles=ALL)
    with pytest.raises(DataError, match="none: cannot be read"):
        format_of(tmp_path / "none")


def test_parts_are_named_by_their_place(tmp_path, random):
    frames = random.integers(0, 256, (3, 12, 10), dtype=np.uint8)
    read = read_file(write_dicom(tmp_path / "x.dcm", frames, bits=8), percentiles=ALL)
    assert [frame.part for frame in read] == ["frame-000", "frame-001", "frame-002"]
    for frame, expected in zip(read, frames, strict=True):
        np.testing.assert_array_equal(frame.pixels, expected.astype(np.float32) / np.float32(255))
        assert frame.slice_index is None
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), tmp_path / "x.nii")
    read = read_file(tmp_path / "x.nii", percentiles=ALL, slicing=VolumesConfig(first_slice=2))
    assert [frame.part for frame in read] == ["axial-002", "axial-003"]


def test_one_image_is_not_chosen_among_several(tmp_path, random):
    frames = random.integers(0, 256, (3, 12, 10), dtype=np.uint8)
    path = write_dicom(tmp_path / "x.dcm", frames, bits=8)
    with pytest.raises(
        DataError, match=r"x\.dcm: holds 3 images where one is expected; save each as a file of its own"
    ):
        read_image(path, percentiles=ALL)


def test_an_entry_in_the_table_is_all_that_a_new_format_needs(tmp_path, monkeypatch, levels):
    def read(path, percentiles, slicing):
        return Contents(name_frames([np.loadtxt(path, np.float32) / np.float32(255)]))

    monkeypatch.setattr(files, "FORMATS", (*FORMATS, Format("text", (".txt",), read)))
    np.savetxt(tmp_path / "x.txt", levels)
    np.testing.assert_array_equal(
        read_image(tmp_path / "x.txt", percentiles=ALL), levels.astype(np.float32) / np.float32(255)
    )
    assert stem_of(tmp_path / "x.txt") == "x"


def test_a_file_is_read_by_its_content_where_its_name_is_wrong(tmp_path, levels):
    np.save(tmp_path / "x.npy", levels)
    (tmp_path / "x.npy").rename(tmp_path / "x.png")
    write_dicom(tmp_path / "y.dcm", levels, bits=8).rename(tmp_path / "y.jpg")
    Image.fromarray(levels).save(tmp_path / "z.dcm", "PNG")
    for name in ("x.png", "y.jpg", "z.dcm"):
        np.testing.assert_array_equal(
            read_image(tmp_path / name, percentiles=ALL), levels.astype(np.float32) / np.float32(255)
        )


def test_no_two_formats_claim_the_same_extension():
    suffixes = [suffix for known in FORMATS for suffix in known.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)


def test_all_files_are_read_before_the_unreadable_ones_are_reported():
    read, lock = [], threading.Lock()

    def attempt(number):
        with lock:
            read.append(number)
        if number % 3 == 1:
            raise DataError(f"{number}: is bad")
        return number * number

    with pytest.raises(DataError, match="here: 2 of 9 files cannot be used, first 1: is bad; replace or remove them"):
        read_each(range(6), attempt, threads=2, place="here", total=9)
    assert sorted(read) == list(range(6))
    assert read_each([2, 3], attempt, threads=2, place="here") == [4, 9]


def test_errors_of_the_program_are_not_taken_for_bad_files():
    with pytest.raises(ZeroDivisionError):
        read_each([0], lambda number: 1 / number, threads=1, place="here")
