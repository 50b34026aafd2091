import numpy as np
import pytest
from PIL import Image

from deepssim.config.choices import DatasetKind
from deepssim.config.dataset import DatasetConfig
from deepssim.datasets.sources import find_sources
from deepssim.errors import DataError
from deepssim.images.folders import TreeSide, list_files
from deepssim.images.packs import ImagePack
from deepssim.images.tree import find_images, find_keys, image_path, is_whole_png, read_images, write_png, write_tree
from tests.images.test_dicom import write as write_dicom


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


def test_a_record_of_many_images_is_divided_among_folders(tmp_path, random):
    """Names do not depend on how many there are, every reader finds the images, and none of them is taken for a real one."""
    keys = [
        "a___training",
        *(f"a___gen-{number}" for number in (0, 4999, 5000, 9999, 10_000)),
        "b___training",
        "b___gen-7",
    ]
    images = random.integers(0, 256, (len(keys), 9, 8), dtype=np.uint8)
    pack = ImagePack(images, keys)
    write_tree(tmp_path, pack, pack.select([key for key in keys if "gen" in key]))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "gen-0.png", "gen-4999.png", "gen-from-00005000", "gen-from-00010000", "training.png",
    ]  # fmt: skip
    assert image_path(tmp_path, "a___gen-10000") == tmp_path / "a" / "gen-from-00010000" / "gen-10000.png"
    (tmp_path / "a" / "others").mkdir()
    Image.fromarray(images[0]).save(tmp_path / "a" / "others" / "gen-3.png")  # not of the tree
    found = find_images(tmp_path)
    assert list(found) == sorted(keys)
    assert find_keys(tmp_path, keys) == {key: found[key] for key in keys}
    np.testing.assert_array_equal(read_images(find_keys(tmp_path, keys), place="", threads=1).images, images)
    real = list_files(tmp_path, side=TreeSide.REAL)
    assert [path.name for path in real if path.parent.name != "others"] == ["training.png", "training.png"]
    assert len([path for path in list_files(tmp_path, side=TreeSide.SYNTHETIC) if path.parent.name != "others"]) == 6


def test_a_record_may_be_named_like_a_further_folder(tmp_path):
    pack = ImagePack(np.eye(9, dtype=np.uint8)[None], ["gen-from-00005000___training"])
    write_tree(tmp_path, pack, ImagePack(pack.images, ["gen-from-00005000___gen-1"]))
    assert list(find_images(tmp_path)) == ["gen-from-00005000___gen-1", "gen-from-00005000___training"]
    assert [path.name for path in list_files(tmp_path, side=TreeSide.REAL)] == ["training.png"]


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
    pack = read_images(found, place=str(tmp_path), threads=2)
    assert pack.keys == sorted(expected)
    np.testing.assert_array_equal(pack.images[0], np.asarray(Image.open(tmp_path / "a" / "gen-0.png")))
    (tmp_path / "a" / "gen-0.tif").write_bytes((tmp_path / "a" / "gen-0.png").read_bytes())
    with pytest.raises(DataError, match="1 image keys occur more than once, first 'a___gen-0'"):
        find_images(tmp_path)
    with pytest.raises(DataError, match="has no image in a folder of its own record"):
        find_images(tmp_path / "a")


def test_other_formats_are_found_by_their_key(tmp_path, random):
    frames = random.integers(0, 256, (2, 9, 8), dtype=np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.fromarray(frames[0]).save(tmp_path / "a" / "training.bmp")
    write_dicom(tmp_path / "a" / "gen-0", frames[1], bits=8)
    write_dicom(tmp_path / "b" / "training.dcm", frames, bits=8)
    keys = ["a___training", "a___gen-0"]
    found = find_images(tmp_path)
    assert {key: path.name for key, path in found.items()} == {
        "a___gen-0": "gen-0", "a___training": "training.bmp", "b___training": "training.dcm",
    }  # fmt: skip
    assert find_keys(tmp_path, keys) == {key: found[key] for key in keys}
    assert list(find_keys(tmp_path, keys)) == keys
    pack = read_images(find_keys(tmp_path, keys), place=str(tmp_path), threads=2)
    np.testing.assert_array_equal(pack.images, frames)
    with pytest.raises(
        DataError, match=r"1 of 3 files cannot be used, first .*b/training\.dcm: holds 2 images where one is expected"
    ):
        read_images(found, place=str(tmp_path), threads=2)


def test_missing_and_ambiguous_keys_are_named(tmp_path, random):
    for name in ("training.png", "training.bmp", "gen-0.png"):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 8), dtype=np.uint8)).save(tmp_path / "a" / name)
    with pytest.raises(DataError, match="1 image keys occur more than once, first 'a___training'"):
        find_keys(tmp_path, ["a___training"])
    found = find_keys(tmp_path, ["a___gen-0", "a___gen-1", "b___training"])
    assert found["b___training"] == tmp_path / "b" / "training.png"
    with pytest.raises(DataError, match=r"2 of 3 files cannot be used, first .*a/gen-1\.png: does not exist"):
        read_images(found, place=str(tmp_path), threads=1)
    with pytest.raises(DataError, match="is not an image key"):
        find_keys(tmp_path, ["a/../../etc"])


def test_suffixes_in_any_case_are_one_tree(tmp_path, random):
    """For the commands of the reference (`find_images`, `find_keys`), the audit and `dataset.kind: folder` (`list_files`)."""
    expected = {}
    for number, suffixes in enumerate(((".jpg", ".PNG"), (".PNG", ".Jpg"), (".JPEG", ".png"), (".png", ".JPG"))):
        (tmp_path / f"p{number}").mkdir()
        for name, suffix in zip(("training", "gen-0"), suffixes, strict=True):
            path = tmp_path / f"p{number}" / f"{name}{suffix}"
            image = Image.fromarray(random.integers(0, 256, (9, 8), dtype=np.uint8))
            image.save(path, format="PNG" if suffix.lower() == ".png" else "JPEG")
            expected[f"p{number}___{name}"] = path
    assert find_images(tmp_path) == dict(sorted(expected.items()))
    assert find_keys(tmp_path, list(expected)) == expected
    pack = read_images(expected, place=str(tmp_path), threads=1)
    np.testing.assert_array_equal(pack.images[0], np.asarray(Image.open(tmp_path / "p0" / "training.jpg")))
    for side, name in ((TreeSide.REAL, "training"), (TreeSide.SYNTHETIC, "gen-0")):
        assert list_files(tmp_path, side=side) == [path for key, path in expected.items() if key.endswith(name)]
    dataset = DatasetConfig(kind=DatasetKind.FOLDER, path=str(tmp_path), image_size=None)
    records = [source.read().records[0] for source in find_sources(dataset, seed=0)]
    assert [record.image_uid for record in records] == ["p0", "p1", "p2", "p3"]


def test_an_unfinished_png_is_told_from_a_whole_one(tmp_path):
    path = tmp_path / "a" / "x.png"
    assert not is_whole_png(path)
    write_png(path, np.zeros((4, 5), np.uint8))
    assert is_whole_png(path)
    for content in (path.read_bytes()[:-1], b"x", b""):
        path.write_bytes(content)
        assert not is_whole_png(path)


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def full(self, data):
        self.open("wb").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_png(tmp_path / "a" / "x.png", np.zeros((4, 5), np.uint8))
    assert not list((tmp_path / "a").iterdir())
