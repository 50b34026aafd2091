import numpy as np
import pytest
from PIL import Image

from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.images.tree import find_images, image_path, read_images, write_tree


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


def test_images_are_found_in_the_order_of_their_keys(tmp_path, random):
    """Whatever the order in which they came onto the disk; other files and folders are passed over."""
    expected = {}
    for name in ("ü", "b 1", "a"):
        (tmp_path / name).mkdir()
        for kind in ("training.png", "gen-1.jpg", "gen-0.png"):
            Image.fromarray(random.integers(0, 256, (9, 8), dtype=np.uint8)).save(tmp_path / name / kind)
            expected[f"{name}___{kind.split('.')[0]}"] = tmp_path / name / kind
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / ".hidden.png").touch()
    (tmp_path / "loose.png").touch()
    found = find_images(tmp_path)
    assert list(found.items()) == sorted(expected.items())
    pack = read_images(found, threads=2)
    assert pack.keys == sorted(expected)
    np.testing.assert_array_equal(pack.images[0], np.asarray(Image.open(tmp_path / "a" / "gen-0.png")))
    (tmp_path / "a" / "gen-0.tif").write_bytes((tmp_path / "a" / "gen-0.png").read_bytes())
    with pytest.raises(DataError, match="1 image keys occur more than once, first 'a___gen-0'"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="has no image in a folder of its own record"):
        find_images(tmp_path / "a")
