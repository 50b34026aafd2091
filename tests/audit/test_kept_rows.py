"""Values of images in files that several runs wrote, each of which may have been interrupted."""

import h5py
import numpy as np
import pytest

from deepssim.audit.evidence import best_of, best_of_many
from deepssim.audit.kept_rows import KeptRows
from deepssim.detection.score import default_score
from deepssim.detection.search import Found
from deepssim.errors import DataError
from deepssim.images.on_disk import ImageFiles, StoredImages

CONTENTS = ["c", "a", "b", "a", "d", "c"]
VALUES = {"a": 1.5, "b": 2.5, "c": 3.5, "d": 4.5, "other": 9.0}


def add(rows: KeptRows, path, keys):
    """Take a file of two datasets, the second being the first one's negative."""
    with h5py.File(path, "w") as file:
        first = np.array([[VALUES[key]] * 3 for key in keys], np.float32)
        datasets = {
            "first": file.create_dataset("first", data=first),
            "second": file.create_dataset("second", data=-first),
        }
        rows.add(path, keys, datasets)


def test_runs_go_on_where_others_were_interrupted(tmp_path):
    rows = KeptRows(CONTENTS, ("first", "second"))
    assert rows.different == 4
    assert rows.left().tolist() == [2, 3, 4, 5]  # the last of equal images stands for all
    add(rows, tmp_path / "0.h5", ["other", "c", "other"])
    assert rows.left().tolist() == [2, 3, 4]
    add(rows, tmp_path / "1.h5", ["other"])  # of other images only
    add(rows, tmp_path / "2.h5", ["d", "other", "a"])
    assert rows.left().tolist() == [2]
    add(rows, tmp_path / "3.h5", ["b", "a"])  # known already, and equal
    assert not len(rows.left())
    expected = np.array([[VALUES[content]] * 3 for content in CONTENTS], np.float32)
    np.testing.assert_array_equal(rows.values("first"), expected)
    np.testing.assert_array_equal(rows.values("second")[np.array([4, 0, 4])], -expected[[4, 0, 4]])
    assert rows.values("first").nbytes == 0


def test_a_file_that_is_gone_is_named(tmp_path):
    rows = KeptRows(["a"], ("first", "second"))
    add(rows, tmp_path / "0.h5", ["a"])
    (tmp_path / "0.h5").unlink()
    with pytest.raises(DataError, match=r"0\.h5: does not exist"):
        rows.values("second")[:]


def test_the_best_candidates_are_the_same_read_in_parts(tmp_path, random, monkeypatch):
    count = 301
    held = Found(
        random.integers(-1, 40, (count, 9)), random.normal(0.4, 0.3, (count, 9, 5)).astype(np.float32),
        random.random((count, 9)).astype(np.float32), random.random((count, 9)) < 0.5,
    )  # fmt: skip
    held.partners[17] = -1  # without any candidate
    names = ("partners", "cues", "overlap", "proved")
    parts = []
    for name in names:
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            files = ImageFiles(name)
            rows = files.add(tmp_path / f"{name}.h5", file.create_dataset(name, data=getattr(held, name)))
            parts.append(StoredImages(files, rows))
    stored, score = Found(*parts), default_score(5)
    for name in names:
        np.testing.assert_array_equal(getattr(stored.loaded(), name), getattr(held, name))
    monkeypatch.setattr("deepssim.audit.evidence._TOGETHER", 64)
    best, expected = best_of_many(stored, score), best_of(held, score.of(held), [""] * count)
    for name in ("scores", "partners", "cues"):
        np.testing.assert_array_equal(getattr(best, name), getattr(expected, name))
    assert best.scores[17] == -np.inf
