"""HDF5 files: text of fixed length comes back unchanged and small, and no global heap is ever read."""

import json
import time

import h5py
import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.runtime.hdf5 import (
    WithoutHeaps,
    dataset,
    open_hdf5,
    read_keys,
    read_number_attribute,
    read_text_attribute,
    write_keys,
    write_text,
    write_text_attribute,
)
from deepssim.runtime.records import Origin, write_records


def written(folder, keys):
    """Return the path of a file that holds `keys`."""
    with h5py.File(folder / "x.h5", "w") as file:
        write_keys(file, "keys", keys)
    return folder / "x.h5"


def read(path, count):
    with open_hdf5(path, needs=["keys"]) as file:
        return read_keys(file, "keys", expected=count)


MANY = [f"patient-{number:07d}___gen-{number % 8}" for number in range(20_000)]


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [""],
        ["", "a", ""],
        ["a___training", "b___gen-0"],
        ["Größe", "a", "脳___training", "🧠", " b ", "line\nbreak"],
        ["a", "x" * 100_000, "ü" * 50_000],
        MANY,
        [*MANY, "x" * 3000, ""],
        [f"{number:05d}" + "ü" * 500 for number in range(5000)],  # several chunks, the last one not full
    ],
)
def test_keys_come_back_unchanged(tmp_path, keys):
    path = written(tmp_path, keys)
    assert read(path, len(keys)) == keys
    with h5py.File(path) as file:
        assert h5py.check_string_dtype(file["keys"].dtype).length == max([1, *(len(key.encode()) for key in keys)])
        assert file["keys"].asstr()[:].tolist() == keys  # as any HDF5 software reads them
    assert b"GCOL" not in path.read_bytes()  # no global heap


def test_many_keys_take_little_space_and_time(tmp_path):
    keys = [f"patient-{number:07d}___gen-{number % 8}" for number in range(100_000)]
    start = time.process_time()
    path = written(tmp_path, keys)
    assert read(path, len(keys)) == keys
    assert path.stat().st_size < 100_000  # 21 kB were measured, 5.6 MB with a variable length
    assert time.process_time() - start < 5  # 0.03 s were measured


def test_one_long_key_does_not_make_the_others_large(tmp_path):
    path = written(tmp_path, [*MANY, "x" * 4000])
    assert path.stat().st_size < 1_000_000  # 80 MB uncompressed
    assert read(path, len(MANY) + 1)[-1] == "x" * 4000


@pytest.mark.parametrize(
    ("key", "reason"),
    [("a\0", "key 'a.x00' has a NUL character"), ("a\0b", "NUL"), ("\0", "NUL"), ("a\udced", "cannot be encoded")],
)
def test_keys_that_would_not_come_back_are_refused(tmp_path, key, reason):
    with pytest.raises(DataError, match=rf"x\.h5: .*{reason}"):
        written(tmp_path, ["a", key])


def test_another_number_of_keys_is_refused(tmp_path):
    path = written(tmp_path, ["a", "b"])
    with pytest.raises(DataError, match=r"x\.h5: 'keys' holds 2 keys for 3 rows of data; rerun the step"):
        read(path, 3)


def test_keys_that_are_not_utf8_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["keys"] = np.array([b"\xff\xfe"])
    with pytest.raises(DataError, match=r"x\.h5: cannot be read as HDF5 \('utf-8' codec"):
        read(tmp_path / "x.h5", 1)


@pytest.mark.parametrize("text", ["", "ssim", "Größe", "x" * 60_000])
def test_text_attributes_come_back_unchanged(tmp_path, text):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_text_attribute(file, "metric", text)
        file.attrs.update({"top_k": 2**53 + 1, "scale": 0.1})
    with open_hdf5(tmp_path / "x.h5", needs=()) as file:
        assert read_text_attribute(file, "metric") == text
        assert read_number_attribute(file, "top_k") == 2**53 + 1
        assert read_number_attribute(file, "scale") == 0.1


def test_attributes_that_cannot_be_used_are_named(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_text_attribute(file, "metric", "ssim")
        file.attrs.update({"scale": 0.1, "many": [1.0, 2.0], "old": "text"})
        with pytest.raises(DataError, match="metric 'a.x00' has a NUL character"):
            write_text_attribute(file, "metric", "a\0")
    with open_hdf5(tmp_path / "x.h5", needs=()) as file:
        for read_attribute, name, reason in (
            (read_text_attribute, "absent", "lacks attribute 'absent'"),
            (read_text_attribute, "scale", "attribute 'scale' holds float64 of shape"),
            (read_text_attribute, "old", "'old' has values of variable length, as files of an older version do; rerun"),
            (read_number_attribute, "metric", r"attribute 'metric' holds \|S4"),
            (read_number_attribute, "many", r"attribute 'many' holds float64 of shape \(2,\)"),
            (read_number_attribute, "old", "'old' has values of variable length"),
        ):
            with pytest.raises(DataError, match=rf"x\.h5: {reason}"):
                read_attribute(file, name)


def test_a_record_of_200_kb_is_stored_in_the_file_that_it_describes(tmp_path):
    path = tmp_path / "results" / "x.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        write_text(file, "provenance", "of an earlier run")
    settings = {"note": "ü" * 100_000, "numbers": list(range(20_000))}
    origin = Origin(path.parent, "embed", settings, (), seed=3, device="cpu")
    for _ in range(2):  # the second replaces the first
        write_records(origin, {"x": path}, {"x": path})
    with h5py.File(path) as file:
        content = file["provenance"][()]
    assert len(content) > 200_000
    assert json.loads(content)["settings"] == settings
    assert b"GCOL" not in path.read_bytes()


def variable_keys(file):
    file.create_dataset("keys", data=["a___training"], dtype=h5py.string_dtype())


def variable_fill_value(file):
    file.create_dataset("keys", (1,), h5py.string_dtype(), chunks=(1,), fillvalue="a___training")


def list_of_numbers(file):
    file.create_dataset("keys", (1,), h5py.vlen_dtype(np.int32))[0] = [1, 2]


def inside_a_compound(file):
    file["keys"] = np.array([("a", 1)], np.dtype([("text", h5py.string_dtype()), ("number", "i4")]))


def references(file):
    file.create_dataset("keys", data=[file.ref], dtype=h5py.ref_dtype)


def virtual(file):
    layout = h5py.VirtualLayout((1,), "S4")
    layout[:] = h5py.VirtualSource("other.h5", "keys", (1,))
    file.create_virtual_dataset("keys", layout)


WITH_HEAP = [variable_keys, variable_fill_value, list_of_numbers, inside_a_compound, virtual]
REFUSED = (  # the second half if the library opens the dataset without its heap
    r"'keys' (is a virtual dataset or )?has values of variable length, as files of an older version do; "
    "rerun the step that writes this file"
)


def cyclic(path, size):
    """Damage each global heap: its first object is free, or as long as all memory, so that the next is the same."""
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL")
    while start >= 0:
        content[start + 24 : start + 32] = size.to_bytes(8, "little")
        if not size:
            content[start + 16 : start + 18] = b"\0\0"
        start = content.find(b"GCOL", start + 4)
    path.write_bytes(content)


@pytest.mark.parametrize("make", [*WITH_HEAP, references])
def test_values_in_a_heap_are_refused(tmp_path, make):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        make(file)
    with pytest.raises(DataError, match=REFUSED), open_hdf5(tmp_path / "x.h5", needs=["keys"]):
        pass


@pytest.mark.parametrize("size", [0, 2**64 - 16])
@pytest.mark.parametrize("make", WITH_HEAP)
def test_a_heap_without_end_is_refused_before_it_is_read(tmp_path, make, size):
    """Each of these keeps the HDF5 library busy for ever once it reads the heap."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        make(file)
    cyclic(path, size)
    with pytest.raises(DataError, match=REFUSED), open_hdf5(path, needs=["keys"]):
        pass
    with open_hdf5(path, needs=[]) as file, pytest.raises(DataError, match=REFUSED):
        read_keys(file, "keys", expected=1)


@pytest.mark.parametrize("size", [0, 2**64 - 16])
def test_an_attribute_in_a_heap_without_end_is_refused_before_it_is_read(tmp_path, size):
    path = written(tmp_path, ["a"])
    with h5py.File(path, "r+") as file:
        file.attrs["metric"] = "ssim"
    cyclic(path, size)
    with open_hdf5(path, needs=["keys"]) as file:
        assert read_keys(file, "keys", expected=1) == ["a"]  # other text in the file is of no concern
        for read_attribute in (read_text_attribute, read_number_attribute):
            with pytest.raises(DataError, match="'metric' has values of variable length"):
                read_attribute(file, "metric")


@pytest.mark.parametrize("split", range(1, 12))
def test_no_signature_of_a_heap_is_read_in_any_parts(tmp_path, split):
    (tmp_path / "x").write_bytes(b"abcGCOLGCOx.")
    parts = bytearray(split), bytearray(20)
    with WithoutHeaps(tmp_path / "x") as file:
        first, second = (file.readinto(part) for part in parts)
        assert file.hidden
    assert bytes(parts[0][:first] + parts[1][:second]) == b"abc\0\0\0\0GCOx."


def test_an_absent_dataset_and_an_absent_file_are_named(tmp_path):
    path = written(tmp_path, ["a"])
    with (
        pytest.raises(DataError, match=r"x\.h5: lacks 1 of 2 datasets that this step reads, first 'images'"),
        open_hdf5(path, needs=["keys", "images"]),
    ):
        pass
    with pytest.raises(DataError, match=r"y\.h5: does not exist; run the step"), open_hdf5(tmp_path / "y.h5", needs=[]):
        pass


@pytest.mark.parametrize(
    ("target", "name"),
    [(h5py.SoftLink("/keys"), "link"), (h5py.ExternalLink("other.h5", "/keys"), "link"), (None, "absent")],
)
def test_links_are_refused(tmp_path, target, name):
    path = written(tmp_path, ["a"])
    with h5py.File(path, "r+") as file:
        if target:
            file[name] = target
    with open_hdf5(path, needs=[]) as file, pytest.raises(DataError, match=rf"x\.h5: .*{name}"):
        dataset(file, name)


def test_a_group_and_an_empty_dataset_are_named(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group("group")
        file["empty"] = h5py.Empty("f4")
    with open_hdf5(tmp_path / "x.h5", needs=[]) as file:
        for name in ("group", "empty"):
            with pytest.raises(DataError, match=rf"'{name}' is not an HDF5 dataset with values; rerun the step"):
                dataset(file, name)
