"""Npz files: any array of numbers or text is read, and what could do harm is refused."""

import io
import zipfile

import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.runtime.npz import read_npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "values",
    [
        np.arange(12.0).reshape(3, 4),
        np.array([[0.5]], np.float16),
        np.array(["a___training", "ü"]),
        np.array(3),
        np.zeros((0, 4)),
    ],
)
def test_what_numpy_writes_is_read(tmp_path, save, values):
    save(tmp_path / "x.npz", other=np.ones(2), data=values)
    found = read_npz(tmp_path / "x.npz", "data")
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_arrays_in_fortran_order_are_read(tmp_path):
    values = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.savez(tmp_path / "x.npz", data=values)
    np.testing.assert_array_equal(read_npz(tmp_path / "x.npz", "data"), values)


def npy(version=1, shape=(3,), content=bytes(24)):
    """Return an npy file of float64."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    header = bytearray(file.getvalue())
    header[6] = version
    return bytes(header) + content


def archive(path, content, name="data.npy"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(shape=(10**12,)), r"'data' declares shape \(1000000000000,\), but is only \d+ bytes"),
        (npy(version=3), r"holds no array 'data' \(unknown version \(3, 0\) of the npy format\)"),
        (npy(shape=(-1, 3)), r"holds no array 'data' \("),
        (npy()[:20], r"holds no array 'data' \("),
        (b"", r"holds no array 'data' \("),
        (b"not an array", r"holds no array 'data' \("),
        (npy(shape=(10**6,), content=bytes(8 * 10**6)), "'data' is larger than the limit of 1,.*bytes"),
    ],
)
def test_damaged_arrays_are_refused_with_advice(tmp_path, content, reason):
    path = archive(tmp_path / "x.npz", content)
    with pytest.raises(DataError, match=rf"x\.npz: {reason}.*; write it again$"):
        read_npz(path, "data", advice="write it again")


def test_the_limit_of_size_is_the_callers(tmp_path):
    path = archive(tmp_path / "x.npz", npy(shape=(10**6,), content=bytes(8 * 10**6)))
    assert read_npz(path, "data", max_bytes=10**7).shape == (10**6,)
    with pytest.raises(DataError, match="'data' is larger than the limit of 100 bytes"):
        read_npz(path, "data", max_bytes=100)


def test_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"x\.npz: holds no array 'data' \(Object arrays cannot be loaded"):
        read_npz(tmp_path / "x.npz", "data")


def test_absent_files_arrays_and_archives_are_named(tmp_path):
    with pytest.raises(DataError, match=r"x\.npz: does not exist; it must be an npz file as written by `np\.savez`"):
        read_npz(tmp_path / "x.npz", "data")
    np.savez(tmp_path / "x.npz", other=np.ones(2))
    with pytest.raises(DataError, match=r"x\.npz: holds no array 'data' \(.*data\.npy"):
        read_npz(tmp_path / "x.npz", "data")
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"x\.npz: holds no array 'data' \(File is not a zip file"):
        read_npz(tmp_path / "x.npz", "data")
