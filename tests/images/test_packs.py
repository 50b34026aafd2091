import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.images.packs import ImagePack, read_pack, write_pack


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
