"""Which arrays are images, what their values mean, and what is refused."""

import io
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file

from deepssim.errors import DataError, NotAnImage
from deepssim.images import arrays, stacks
from deepssim.images.files import read_contents
from deepssim.images.frames import Contents
from deepssim.images.grey import MIXED, NOT_FINITE, Extent, flatten, natural_range
from deepssim.images.layouts import LAST, THREE, VOLUMES, layout_of, why_not
from deepssim.images.packs import ImagePack, write_pack

ALL = (0.0, 100.0)


@pytest.fixture
def images(random) -> np.ndarray:
    found = random.integers(0, 256, (5, 12, 10), dtype=np.uint8)
    found[:, 0, :2] = 0, 255
    return found


def contents(path: Path) -> Contents:
    return read_contents(path, percentiles=ALL)


def pixels(path: Path) -> np.ndarray:
    return np.stack([frame.pixels for frame in contents(path).frames if not frame.left_out])


def left_out(path: Path) -> dict[str, str]:
    return {frame.part: frame.left_out for frame in contents(path).frames if frame.left_out}


def saved(tmp_path: Path, values: np.ndarray) -> Path:
    np.save(tmp_path / "x.npy", values)
    return tmp_path / "x.npy"


@pytest.mark.parametrize(
    ("shape", "kind", "count", "image"),
    [
        ((9, 8), "u1", 1, (9, 8)),
        ((5, 9, 8), "u1", 5, (9, 8)),
        ((1, 9, 8), "f4", 1, (9, 8)),
        ((5, 1, 9, 8), "f4", 5, (9, 8)),
        ((5, 3, 9, 8), "f4", 5, (3, 9, 8)),
        ((5, 9, 8, 3), "f4", 5, (9, 8, 3)),
        ((9, 8, 3), "f4", 1, (9, 8, 3)),
        ((9, 8, 1), "f4", 1, (9, 8)),
        ((5, 9, 8, 1), "f4", 5, (9, 8)),
        ((9, 8, 4), "u1", 1, (9, 8, 4)),  # transparency
        ((9, 8, 4), "f4", 4, (9, 8)),  # modalities
        ((5, 4, 9, 8), "f4", 20, (9, 8)),
        ((5, 2, 6, 9, 8), "f4", 60, (9, 8)),
        ((9, 9, 5), "f4", 5, (9, 9)),
        ((20, 18, 5), "f4", 5, (20, 18)),
        ((40, 40, 20), "f4", 20, (40, 40)),
    ],
)
def test_axes_are_images_colours_rows_and_columns(shape, kind, count, image):
    layout = layout_of(shape, np.dtype(kind))
    assert (layout.count, layout.image) == (count, image)
    values = np.arange(np.prod(shape)).reshape(shape)
    taken = [values[layout.key(number)] for number in range(count)]
    assert {one.shape for one in taken} == {image}
    assert sorted(np.concatenate([one.ravel() for one in taken])) == list(range(values.size))  # every value once


@pytest.mark.parametrize(
    ("shape", "kind"), [((9,), "u1"), ((), "f4"), ((9, 7), "u1"), ((4000, 10), "f4"), ((0, 9, 9), "f4"), ((9, 9), "S3")]
)
def test_lists_tables_and_text_are_no_images(shape, kind):
    assert why_not(shape, np.dtype(kind))


@pytest.mark.parametrize(
    ("kind", "low", "high", "span"),
    [
        ("?", 0, 1, (0, 1)),
        ("u1", 0, 90, (0, 255)),
        ("u1", 0, 1, (0, 1)),
        ("i1", -90, 90, (-128, 127)),
        ("i8", 0, 255, (0, 255)),
        ("u2", 0, 4095, None),
        ("i2", -1024, 3000, None),
        ("f4", 0, 1, (0, 1)),
        ("f4", -0.02, 1.03, (0, 1)),
        ("f4", -1, 0.98, (-1, 1)),
        ("f4", -1.04, 1.04, (-1, 1)),
        ("f4", 0, 255, (0, 255)),
        ("f4", 0, 0.01, None),
        ("f4", -0.1, 0.1, None),
        ("f4", -3, 3, None),
        ("f4", 0, 20, None),
    ],
)
def test_type_and_values_of_a_file_tell_black_and_white(kind, low, high, span):
    assert natural_range(np.dtype(kind), Extent(low, high)) == span


def test_the_range_is_that_of_the_file_not_of_an_image(tmp_path, images):
    values = images / np.float32(127.5) - 1
    values[2] = np.linspace(0.1, 0.3, 120).reshape(12, 10)  # alone it would pass for 0 to 1
    np.testing.assert_allclose(pixels(saved(tmp_path, values)), (values + 1) / 2, atol=1e-6)


def test_values_that_are_not_finite_are_background(tmp_path, images):
    values = images / np.float32(255)
    values[0, 3, 3], values[1, 4, 4] = np.nan, np.inf
    found = pixels(saved(tmp_path, values))
    assert found[0, 3, 3] == found[1, 4, 4] == 0
    np.testing.assert_allclose(found[2:], values[2:])
    assert NOT_FINITE in contents(tmp_path / "x.npy").facts.notices
    assert not pixels(saved(tmp_path, np.full((9, 9), np.nan))).any()


def test_three_images_are_not_mixed_into_one(tmp_path, images):
    np.testing.assert_allclose(pixels(saved(tmp_path, images[:3])), images[:3] / 255, atol=1e-6)
    assert contents(tmp_path / "x.npy").facts.notices == (THREE,)
    alike = np.stack([images[0], images[0] // 2, images[0] // 3])
    assert pixels(saved(tmp_path, alike)).shape == (1, 12, 10)


def test_assumptions_about_axes_are_named(tmp_path, images):
    assert contents(saved(tmp_path, images[None].repeat(2, 0))).facts.notices == (VOLUMES,)
    assert contents(saved(tmp_path, images[:, :10].transpose(1, 2, 0))).facts.notices == (LAST,)


def test_a_transparent_picture_does_not_vanish():
    picture, mask = np.array([[0, 90], [180, 255]], np.uint8), np.array([[0, 255], [255, 255]], np.uint8)
    np.testing.assert_array_equal(flatten(picture, mask, 255), [[0, 90], [180, 255]])
    np.testing.assert_array_equal(flatten(picture, np.full((2, 2), 7, np.uint8), 255), picture)
    for colour in (0, 1, 255):
        np.testing.assert_array_equal(flatten(np.full((2, 2), colour, np.uint8), picture, 255), picture)
    np.testing.assert_allclose(flatten(picture // 2, picture, 255, premultiplied=True), picture)


def test_objects_are_refused_and_no_code_runs(tmp_path):
    class Attack:
        def __reduce__(self):
            return (tmp_path / "done").mkdir, ()

    np.save(tmp_path / "x.npy", np.array([Attack()], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", a=np.array([Attack()], object))
    np.savez_compressed(tmp_path / "y.npz", a=np.array([Attack()], object))
    torch.save([Attack()], tmp_path / "x.pt")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Attack()))
    for name in ("x.npy", "x.npz", "y.npz", "x.pt"):
        with pytest.raises(
            DataError, match="holds Python objects, which are not loaded because they could run code; save"
        ):
            contents(tmp_path / name)
    with pytest.raises(DataError, match=r"y\.pt: "):
        contents(tmp_path / "y.pt")
    assert not (tmp_path / "done").exists()


def test_other_arrays_are_left_out_by_name(tmp_path, images):
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(5), names=np.array(["a"]))
    assert left_out(tmp_path / "x.npz") == {
        "labels": "shape (5,) is not that of images", "names": "holds no numbers"
    }  # fmt: skip
    np.savez(tmp_path / "y.npz", real=images, fake=images[:2])
    assert [frame.part for frame in contents(tmp_path / "y.npz").frames] == [
        *(f"real-{number:03d}" for number in range(5)), "fake-000", "fake-001"
    ]  # fmt: skip


def test_files_without_images_are_no_images(tmp_path):
    np.savez(tmp_path / "x.npz", labels=np.arange(5))
    torch.save(torch.nn.Linear(99, 99).state_dict(), tmp_path / "x.pt")
    torch.save({"epoch": 3, "state_dict": {"a.weight": torch.ones(9, 9)}}, tmp_path / "y.pth")
    torch.jit.save(torch.jit.script(torch.nn.Linear(9, 9)), str(tmp_path / "z.pt"))
    save_file({"a.weight": torch.ones(99, 99)}, tmp_path / "x.safetensors")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["model_weights/dense/kernel:0"] = np.ones((99, 99))
    for path in (
        saved(tmp_path, np.arange(9)),
        *map(tmp_path.joinpath, ("x.npz", "x.pt", "y.pth", "z.pt", "x.safetensors", "x.h5")),
    ):
        with pytest.raises(NotAnImage, match="; save images"):
            contents(path)


def test_flat_images_are_not_taken_for_a_table(tmp_path):
    with pytest.raises(DataError, match=r"may hold images in another layout; save it with shape \(N, H, W\)") as caught:
        contents(saved(tmp_path, np.zeros((9, 28 * 28), np.float32)))
    assert not isinstance(caught.value, NotAnImage)


def test_headers_that_declare_more_than_is_stored_are_refused(tmp_path, images):
    content = saved(tmp_path, images).read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"x\.npy: declares 600 bytes, but only 599 are stored"):
        contents(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content[:-1])
    with pytest.raises(DataError, match=r"x\.npz: declares 600 bytes, but only 599 are stored"):
        contents(tmp_path / "x.npz")


def test_packed_arrays_that_are_too_large_are_refused(tmp_path, monkeypatch, images):
    np.savez_compressed(tmp_path / "x.npz", a=images)
    np.savez_compressed(tmp_path / "y.npz", a=images, b=images, c=np.arange(3))
    monkeypatch.setattr(arrays, "_MOST_PACKED", 1199)
    assert len(pixels(tmp_path / "x.npz")) == 5
    with pytest.raises(DataError, match="'b' would unpack to 600 bytes"):
        contents(tmp_path / "y.npz")
    monkeypatch.setattr(arrays, "_MOST_PACKED", 599)
    with pytest.raises(DataError, match=r"'a' would unpack to 600 bytes, .*; save them with `numpy\.savez`"):
        contents(tmp_path / "x.npz")
    monkeypatch.setattr(stacks, "_MAX_TOTAL", 599)
    with pytest.raises(DataError, match=r"holds 600 values, more than 599; split it"):
        contents(saved(tmp_path, images))


def test_an_archive_of_many_arrays_keeps_few_files_open(tmp_path, images):
    np.savez(tmp_path / "x.npz", **{f"image{number}": images[0] for number in range(60)})
    before = psutil.Process().num_fds()
    found = contents(tmp_path / "x.npz")
    assert psutil.Process().num_fds() < before + 5
    assert len(list(found.frames)) == 60


def test_images_are_read_while_they_are_iterated(tmp_path, images, monkeypatch):
    path = saved(tmp_path, images)
    frames = iter(contents(path).frames)
    next(frames)
    loads = []
    monkeypatch.setattr(stacks, "unit", lambda values, *rest: loads.append(1) or values)
    next(frames)
    assert loads == [1]


def test_an_image_pack_is_a_file_of_images(tmp_path, images):
    write_pack(tmp_path / "x.h5", ImagePack(images, list("abcde")))
    np.testing.assert_allclose(pixels(tmp_path / "x.h5"), images / 255, atol=1e-7)
    assert left_out(tmp_path / "x.h5") == {"keys": "holds no numbers"}


def test_datasets_of_any_chunks_are_read_row_by_row(tmp_path, random):
    images = random.integers(0, 256, (23, 12, 10), dtype=np.uint8)
    for chunks in (None, (1, 12, 10), (7, 5, 5), (23, 12, 10)):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("a", data=images, chunks=chunks)
            file.create_dataset("b", data=images[::-1, None], chunks=(7, 1, 5, 5))
        expected = np.concatenate([images, images[::-1]]) / np.float32(255)
        np.testing.assert_array_equal(pixels(tmp_path / "x.h5"), expected)


def test_hdf5_leads_to_no_other_file(tmp_path, images):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = images
    layout = h5py.VirtualLayout(images.shape, "u1")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "images", images.shape)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (5, 12, 10), "u1", external=[(str(tmp_path / "other.h5"), 0, 600)])
    with pytest.raises(
        DataError, match=r"x\.h5: 'link' cannot be read: is a link to another file, which is not followed"
    ):
        contents(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["images"] = images[:2]
        file["soft"] = h5py.SoftLink("/images")
        file["hard"] = file["images"]
        file["loop"] = file["/"]
    assert len(pixels(tmp_path / "x.h5")) == 2
    assert list(left_out(tmp_path / "x.h5")) == ["link", "raw", "virtual"]


def test_lists_that_hold_each_other_have_an_end(tmp_path, images):
    content = [torch.tensor(images)]
    for _ in range(7):
        content = [content] * 50
    torch.save(content, tmp_path / "x.pt")
    assert len(pixels(tmp_path / "x.pt")) == 5
    for _ in range(20):
        content = [content]
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(DataError, match="lists within lists"):
        contents(tmp_path / "x.pt")


def test_views_that_repeat_a_value_are_refused(tmp_path):
    torch.save(torch.ones(1).expand(10**6, 1000, 1000), tmp_path / "x.pt")
    with pytest.raises(DataError, match="declares more values than are stored"):
        contents(tmp_path / "x.pt")


def test_an_archive_is_told_from_others_by_its_first_entry(tmp_path, images):
    content = io.BytesIO()
    np.savez(content, images)
    (tmp_path / "x").write_bytes(content.getvalue())
    assert len(pixels(tmp_path / "x")) == 5
    with zipfile.ZipFile(tmp_path / "y", "w") as archive:
        archive.writestr("notes.txt", "no image")
    with pytest.raises(DataError, match="is not an image of a known format"):
        contents(tmp_path / "y")


def test_three_volumes_in_the_last_axis_are_no_colours(tmp_path, random):
    """Planes at the end of a volume are empty in all three, so that the first one says nothing."""
    volumes = np.zeros((20, 16, 16, 3), np.float32)
    volumes[4:16] = random.random((12, 16, 16, 3))
    np.save(tmp_path / "a.npy", volumes)
    assert MIXED in read_contents(tmp_path / "a.npy", percentiles=ALL).facts.notices
    np.save(tmp_path / "b.npy", np.repeat(volumes[..., :1], 3, axis=3))
    assert MIXED not in read_contents(tmp_path / "b.npy", percentiles=ALL).facts.notices
