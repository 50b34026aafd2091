"""Files that hold images beside other arrays, encoded, or one after the other: nothing of them is passed over."""

import io
import zipfile

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from deepssim.errors import DataError, NotAnImage
from deepssim.images.frames import MAY_HOLD_IMAGES, NOT_READ
from tests.images.test_arrays import contents, left_out, pixels


@pytest.fixture
def images(random) -> np.ndarray:
    found = random.integers(0, 256, (5, 12, 10), dtype=np.uint8)
    found[:, 0, :2] = 0, 255
    return found


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["S", "bytes", "opaque", "list", "lists"])
def test_encoded_pictures_are_not_taken_for_a_table(tmp_path, images, kind):
    content = [encoded(image) for image in images]
    path = tmp_path / ("x.npy" if kind == "S" else "x.pt" if kind.startswith("list") else "x.h5")
    if kind == "S":
        np.save(path, np.array(content))
    elif kind == "list":
        torch.save({"images": content}, path)
    elif kind == "lists":
        torch.save({"images": images.tolist()}, path)
    else:
        with h5py.File(path, "w") as file:
            file["x"] = np.frombuffer(content[0], np.uint8) if kind == "bytes" else np.void(content[0])
    with pytest.raises(DataError) as caught:
        contents(path)
    assert not isinstance(caught.value, NotAnImage)


def test_parts_that_may_hold_images_are_marked(tmp_path, images):
    np.savez(tmp_path / "x.npz", a=images, flat=np.zeros((5, 4096)), names=np.array(["a"]))
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("b.png", encoded(images[0]))
        archive.writestr("readme.txt", "x")
    reasons = left_out(tmp_path / "x.npz")
    assert reasons["flat"].startswith(MAY_HOLD_IMAGES)
    assert reasons["b.png"].startswith(NOT_READ)
    assert reasons["names"] == "holds no numbers"
    assert len(reasons) == 3
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"], file["elsewhere"] = images, h5py.ExternalLink("y.h5", "a")
        file["names"] = ["one", "two"]
    marked = {name: reason.startswith(NOT_READ) for name, reason in left_out(tmp_path / "x.h5").items()}
    assert marked == {"elsewhere": True, "names": False}


def test_arrays_that_were_saved_one_after_the_other_are_all_read(tmp_path, images):
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        for values in (images[:2], images[2], np.arange(3), images[3]):
            np.save(file, values)
    np.testing.assert_allclose(pixels(path), images[:4] / 255, atol=1e-6)
    assert list(left_out(path)) == ["array-002"]
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DataError, match="holds 4 bytes behind its arrays"):
        contents(path)


def test_samples_in_a_checkpoint_are_read(tmp_path, images):
    weights = {"conv.weight": torch.ones(20, 20), "conv.position": torch.ones(30, 30)}
    states = {"state": {0: {"exp_avg": torch.ones(20, 20)}}}
    torch.save({"model": weights, "optimizer": states, "samples": torch.from_numpy(images)}, tmp_path / "x.pt")
    np.testing.assert_allclose(pixels(tmp_path / "x.pt"), images / 255, atol=1e-6)
    torch.save({"model": weights, "optimizer": states, "epoch": torch.ones(1)}, tmp_path / "y.pt")
    with pytest.raises(NotAnImage, match="weights of a network"):
        contents(tmp_path / "y.pt")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((30, 5, 30)),
        np.zeros((1, 1, 1, 5, 1, 30, 30)),
        np.zeros((1, 30, 30, 6)),
        np.zeros((5, 12, 10), [("red", "u1")]),
        np.zeros(5, [("image", "u1", (12, 10)), ("age", "i4")]),
        np.zeros(5, [("image", "u1", 900)]),
    ],
)
def test_images_in_other_orders_and_records_are_not_taken_for_a_table(tmp_path, values):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(DataError, match="may hold images in another layout") as caught:
        contents(tmp_path / "x.npy")
    assert not isinstance(caught.value, NotAnImage)


@pytest.mark.parametrize("values", [np.zeros((99, 5, 2)), np.zeros(9, [("age", "i4"), ("name", "U9")]), np.arange(500)])
def test_tables_are_no_images(tmp_path, values):
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(NotAnImage):
        contents(tmp_path / "x.npy")
