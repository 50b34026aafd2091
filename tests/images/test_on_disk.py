"""Images in several files behave as one array, and few of them are in memory."""

import h5py
import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.images import on_disk
from deepssim.images.on_disk import ImageFiles, StoredImages, batches, blocks, joined
from deepssim.images.packs import ImagePack


@pytest.fixture(params=[(5, 4), (3, 5, 4)], ids=["images", "volumes"])
def stored(request, tmp_path, random):
    """Nine images in files of 4, 0, 2 and 3, and the same in an array."""
    array = random.integers(0, 255, (9, *request.param), dtype=np.uint8)
    files, rows = ImageFiles(), []
    for number, part in enumerate(np.split(array, [4, 4, 6])):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            rows += files.add(tmp_path / f"{number}.h5", file.create_dataset("images", data=part))
    assert rows == list(range(9))
    return StoredImages(files, range(9)), array


def test_all_that_an_audit_does_with_an_array_is_done_with_files(stored):
    images, array = stored
    assert (images.shape, images.ndim, images.dtype, len(images)) == (array.shape, array.ndim, array.dtype, 9)
    for rows in (slice(None), slice(2, 8, 3), [8, 0, 0, 5], np.array([], np.int64), 6):
        np.testing.assert_array_equal(images[rows], array[rows])
    np.testing.assert_array_equal(np.stack(list(images)), array)
    assert (images == array).all()
    assert (images[1:] != images[:-1]).any()
    some = images.take([7, 1, 7, 4]).take(np.array([2, 0, 1]), axis=0)
    np.testing.assert_array_equal(some, array[[7, 7, 1]])
    np.testing.assert_array_equal(joined([some, images.take([3])]), array[[7, 7, 1, 3]])
    np.testing.assert_array_equal(joined([some, array[:2]]), array[[7, 7, 1, 0, 1]])
    assert ImagePack(images, [str(row) for row in range(9)]).bytes_in_memory == 0
    for outside in (9, -1, [0, 9]):
        with pytest.raises(IndexError, match="of 9 were asked for"):
            images.take(outside)
    for mask in (array[:, 0, 0].astype(bool).reshape(9, -1)[:, 0], [0.0, 1.0]):
        with pytest.raises(TypeError, match="by integers or a slice, not by"):
            images[mask]


def test_blocks_hold_few_images_and_all_of_them(stored, monkeypatch):
    images, array = stored
    monkeypatch.setattr(on_disk, "_BLOCK", 2 * array[0].nbytes)
    for source in (images, array):
        found = list(blocks(source))
        assert [len(part) for part in found] == [2, 2, 2, 2, 1]
        np.testing.assert_array_equal(np.concatenate(found), array)


@pytest.mark.parametrize(
    ("most", "sizes"), [(10**6, [1000]), (700, [512, 488]), (300, [256, 256, 256, 232]), (100, [96] * 10 + [40]), (1, [32] * 31 + [8])]
)  # fmt: skip
def test_batches_never_cut_those_of_an_encoder_or_of_a_search(most, sizes):
    rows = np.arange(5, 1005)
    found = list(batches(np.zeros((0, 2, 3), np.uint8), rows, 6 * most))
    assert [len(part) for part in found] == sizes
    np.testing.assert_array_equal(np.concatenate(found), rows)


def test_files_that_do_not_fit_and_files_that_are_gone_are_named(stored, tmp_path):
    images, array = stored
    with pytest.raises(ValueError, match=r"x\.h5: expected uint8 images"):
        images._files.add("x.h5", np.zeros((1, 2, 2), np.uint8))
    (tmp_path / "3.h5").unlink()
    np.testing.assert_array_equal(images[:6], array[:6])
    with pytest.raises(DataError, match=r"3\.h5: does not exist"):
        images[8]
