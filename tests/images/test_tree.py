import numpy as np
import pytest
from PIL import Image

from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.images.tree import image_path, write_tree


def test_the_tree_is_that_of_the_reference(tmp_path, packs):
    real, synthetic = packs
    write_tree(tmp_path, real, synthetic)
    assert sorted(path.name for path in (tmp_path / "r5").iterdir()) == ["gen-0.png", "gen-1.png", "training.png"]
    assert len(list(tmp_path.iterdir())) == 6
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "r3" / "gen-1.png")), synthetic.images[7])


def test_sixteen_bits_survive(tmp_path):
    pack = ImagePack(np.array([[[0, 40000], [1, 65535]]], np.uint16), ["a___training"])
    write_tree(tmp_path, pack, ImagePack(pack.images, ["a___gen-0"]))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a" / "gen-0.png")), pack.images[0])


def test_a_record_without_real_image_is_named(tmp_path, packs):
    real, synthetic = packs
    with pytest.raises(DataError, match="1 of 6 records have no real image, first 'r5'"):
        write_tree(tmp_path, real.select(real.keys[:5]), synthetic)


def test_no_key_leads_out_of_the_tree(tmp_path):
    with pytest.raises(DataError):
        image_path(tmp_path, "..___x")
