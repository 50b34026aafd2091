from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.images.packs import ImagePack, open_packs, read_pack, write_pack


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_pack_survives_a_round_trip(tmp_path, random, kind):
    pack = ImagePack(random.integers(0, np.iinfo(kind).max, (3, 5, 4), dtype=kind), ["ä", "b", "c"])
    write_pack(tmp_path / "x.h5", pack)
    again = read_pack(tmp_path / "x.h5")
    assert again.keys == pack.keys
    assert again.images.dtype == kind
    np.testing.assert_array_equal(again.images, pack.images)


def test_select_follows_the_order_of_keys(packs):
    real, _ = packs
    chosen = real.select([real.keys[4], real.keys[1]])
    np.testing.assert_array_equal(chosen.images, real.images[[4, 1]])
    assert real.select([]).images.shape == (0, 16, 24)
    with pytest.raises(DataError, match="1 of 2 images are not in the image pack, first 'none'"):
        real.select([real.keys[0], "none"])


@pytest.fixture
def shards(tmp_path, random):
    """Three files of 4, 1 and 3 images, and all of these in one array."""
    images = random.integers(0, 255, (8, 5, 4), dtype=np.uint8)
    for number, rows in enumerate(([0, 1, 2, 3], [4], [5, 6, 7])):
        write_pack(tmp_path / f"{number}.h5", ImagePack(images[rows], [f"image{row}" for row in rows]))
    return [tmp_path / f"{number}.h5" for number in range(3)], images


def test_several_files_are_indexed_as_one_array(shards):
    paths, images = shards
    with open_packs(paths) as pack:
        assert pack.keys == [f"image{row}" for row in range(8)]
        assert (pack.images.shape, pack.images.dtype, pack.spatial_dims) == (images.shape, images.dtype, 2)
        assert pack.bytes_in_memory == 0
        for rows in (
            0,
            7,
            4,
            slice(None),
            slice(3, 6),
            slice(6, 1, -2),
            [7, 0, 5, 0, 4],
            np.array([6, 3]),
            np.array([], int),
        ):
            np.testing.assert_array_equal(pack.images[rows], images[rows])
        np.testing.assert_array_equal(pack.select(["image6", "image2"]).images, images[[6, 2]])
        for outside in (8, [0, 8], -1):
            with pytest.raises(IndexError, match="of 8"):
                pack.images[outside]


def test_threads_read_the_right_images(shards):
    paths, images = shards
    with open_packs(paths) as pack, ThreadPoolExecutor(4) as pool:
        rows = [row for _ in range(40) for row in (0, 7, 4, 5, 3)]
        for row, image in zip(rows, pool.map(pack.images.__getitem__, rows), strict=True):
            np.testing.assert_array_equal(image, images[row])


def test_files_that_do_not_belong_together_are_named(tmp_path, shards):
    paths, images = shards
    write_pack(tmp_path / "wide.h5", ImagePack(np.zeros((1, 5, 6), np.uint8), ["wide"]))
    write_pack(tmp_path / "again.h5", ImagePack(images[:1], ["image0"]))
    with pytest.raises(DataError, match=r"wide\.h5: holds uint8 images of 5x6, unlike .*0\.h5 \(uint8, 5x4\)"):
        open_packs([*paths, tmp_path / "wide.h5"]).__enter__()
    with pytest.raises(DataError, match="1 image keys occur more than once, first 'image0'"):
        open_packs([*paths, tmp_path / "again.h5"]).__enter__()


def test_unit_reaches_one_for_both_depths():
    for kind, top in ((np.uint8, 255), (np.uint16, 65535)):
        assert ImagePack(np.full((1, 2, 2), top, kind), ["a"]).unit().max() == 1.0


def test_keys_must_be_distinct(tmp_path):
    with pytest.raises(DataError, match="first 'a'"):
        write_pack(tmp_path / "x.h5", ImagePack(np.zeros((2, 2, 2), np.uint8), ["a", "a"]))


def test_a_truncated_pack_is_named(tmp_path, packs):
    path = tmp_path / "x.h5"
    write_pack(path, packs[0])
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"x\.h5: is damaged or not HDF5"):
        read_pack(path)
    with pytest.raises(DataError, match=r"y\.h5: does not exist"):
        read_pack(tmp_path / "y.h5")


def test_a_foreign_file_is_named(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = np.zeros((2, 3, 3))
        file["keys"] = np.array([b"a", b"b"])
    with pytest.raises(DataError, match="holds float64"):
        read_pack(tmp_path / "x.h5")
