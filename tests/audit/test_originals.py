"""Pictures of the report at their own resolution, read again from files of every kind."""

import cv2
import nibabel
import numpy as np
import pytest
from PIL import Image

from deepssim.audit import originals
from deepssim.audit.originals import full_picture, full_pictures
from deepssim.config.choices import Axis
from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images.files import read_contents
from deepssim.images.folders import collect, decode, list_files
from tests.audit.folders import picture, write

ALL = (0.0, 100.0)
EVERY_AXIS = VolumesConfig(unoriented_axis=Axis.ALL)


def read(root, percentiles=ALL, slicing=EVERY_AXIS):
    files = list_files(root)
    return collect(root, files, [decode(path, (32, 32), percentiles, slicing=slicing) for path in files])


def test_pictures_keep_their_size_up_to_a_limit(tmp_path, random):
    wide = cv2.resize(picture(random, 100), (300, 100))
    write(tmp_path / "a.png", wide)
    write(tmp_path / "b.png", cv2.resize(picture(random, 64), (600, 900)))
    found = full_pictures(read(tmp_path), [0, 1], percentiles=ALL, threads=2)
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(found[0], wide / np.float32(255), atol=1e-6)
    assert found[1].shape == (512, 341)
    assert found[1].max() <= 1
    assert full_picture(read(tmp_path), 1, percentiles=ALL, largest=90).shape == (90, 60)


def test_sixteen_bits_go_through_the_window_of_the_audit(tmp_path, random):
    image = picture(random, 60).astype(np.uint16) * 100
    image[0, 0] = 65535  # one hot pixel, which the window cuts off
    Image.fromarray(image).save(tmp_path / "x.tif")
    shown = full_picture(read(tmp_path, (0.5, 99.5)), 0, percentiles=(0.5, 99.5))
    assert shown.max() == 1
    assert np.median(shown) > 0.3
    assert np.median(full_picture(read(tmp_path), 0, percentiles=ALL)) < 0.25


def test_pages_of_a_tiff_are_told_apart(tmp_path, random):
    pages = [picture(random, 40 + 8 * number) for number in range(3)]
    images = [Image.fromarray(page) for page in pages]
    images[0].save(tmp_path / "x.tif", save_all=True, append_images=images[1:])
    collection = read(tmp_path)
    assert collection.pack.keys == ["x.tif#frame-000", "x.tif#frame-001", "x.tif#frame-002"]
    found = full_pictures(collection, [2, 0], percentiles=ALL)
    assert sorted(found) == [0, 2]
    for row, shown in found.items():
        np.testing.assert_allclose(shown, pages[row] / np.float32(255), atol=1e-6)


def test_slices_are_those_of_the_audit_and_constant_ones_do_not_count(tmp_path, random):
    volume = np.zeros((40, 50, 6), np.float32)
    volume[5:-5, 5:-5, 1:5] = 0.2 + random.random((30, 40, 4))
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1, 1, 1])), tmp_path / "x.nii.gz")
    write(tmp_path / "a.png", np.full((40, 40), 7, np.uint8))  # constant
    write(tmp_path / "b.png", picture(random, 48))
    collection = read(tmp_path)
    assert collection.pack.keys[0] == "b.png"
    frames = {frame.part: frame.pixels for frame in read_contents(tmp_path / "x.nii.gz", percentiles=ALL).frames}
    found = full_pictures(collection, range(len(collection.pack.keys)), percentiles=ALL, slicing=EVERY_AXIS)
    assert len(found) == len(collection.pack.keys) > 3
    for row, key in enumerate(collection.pack.keys[1:], start=1):
        np.testing.assert_array_equal(found[row], frames[key.partition("#")[2]])


def test_a_name_with_a_hash_sign_is_no_part(tmp_path, random):
    images = {name: picture(random, 40) for name in ("a#frame-001.png", "b#c.png")}
    for name, image in images.items():
        write(tmp_path / name, image)
    collection = read(tmp_path)
    assert collection.pack.keys == sorted(images)
    for row, key in enumerate(collection.pack.keys):
        shown = full_picture(collection, row, percentiles=ALL)
        np.testing.assert_allclose(shown, images[key] / np.float32(255), atol=1e-6)


def test_a_file_is_read_once(tmp_path, random, monkeypatch):
    np.save(tmp_path / "x.npy", np.stack([picture(random, 40) for _ in range(5)]))
    collection = read(tmp_path)
    paths = []

    def counted(path, **options):
        paths.append(path)
        return read_contents(path, **options)

    monkeypatch.setattr(originals, "read_contents", counted)
    assert len(full_pictures(collection, [0, 3, 4, 3], percentiles=ALL)) == 3
    assert len(paths) == 1


def test_a_file_that_changed_is_named(tmp_path, random):
    pages = [Image.fromarray(picture(random, 40)) for _ in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    collection = read(tmp_path)
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:2])
    with pytest.raises(DataError, match=r"x\.tif: 1 of 2 images .* first x\.tif#frame-002"):
        full_pictures(collection, [1, 2], percentiles=ALL)
