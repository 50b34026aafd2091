import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.reference.npz import read_array, read_index, read_matrix, write_embeddings, write_index, write_matrix


def test_files_are_those_that_numpy_writes(tmp_path, random):
    """Written files are read by plain NumPy, and files that plain NumPy wrote are read here."""
    keys = ["ü 1___training", "b___gen-0"]
    scores = random.random((2, 3)).astype(np.float32)
    write_matrix(tmp_path / "m.npz", scores)
    write_index(tmp_path / "i.npz", keys)
    write_embeddings(tmp_path / "e", keys, scores)
    np.testing.assert_array_equal(np.load(tmp_path / "m.npz")["data"], scores.astype(np.float16))
    assert np.load(tmp_path / "i.npz")["data"].tolist() == keys
    np.testing.assert_array_equal(np.load(tmp_path / "e" / "ü 1___training.npz")["arr_0"], scores[0])
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == ["b___gen-0.npz", "ü 1___training.npz"]
    assert read_index(tmp_path / "i.npz") == keys
    for kind in (np.float16, np.float32, np.float64):
        np.savez_compressed(tmp_path / "m.npz", data=scores.astype(kind))
        matrix = read_matrix(tmp_path / "m.npz", keys, ["x", "y", "z"], "ssim")
        found = matrix.pair_scores([keys[1]], ["z"])
        assert found.dtype == np.float64
        assert found == scores.astype(kind)[1, 2]


def test_no_code_in_a_file_is_run(tmp_path):
    np.savez(tmp_path / "x.npz", data=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"x\.npz: holds no array 'data' \(Object arrays cannot be loaded"):
        read_array(tmp_path / "x.npz")


def test_a_key_that_occurs_twice_is_named(tmp_path):
    write_index(tmp_path / "i.npz", ["a___training", "b___training", "a___training"])
    with pytest.raises(DataError, match="1 image keys occur more than once, first 'a___training'"):
        read_index(tmp_path / "i.npz")


def test_other_files_stay(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "notes.txt").write_text("mine")
    write_embeddings(tmp_path / "e", ["a___training"], np.ones((1, 2)))
    assert (tmp_path / "e" / "notes.txt").read_text() == "mine"
