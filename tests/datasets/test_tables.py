from pathlib import Path

import pandas as pd
import pytest

from deepssim.datasets.tables import IMAGE_COLUMNS, Split, keys_of, locate_files, read_csv, read_images, write_csv
from deepssim.errors import DataError


def test_identifiers_stay_text(tmp_path):
    rows = [("007", "", "real", "0012", "train"), ("008", "x", "holdout", "0013", "holdout")]
    write_csv(tmp_path / "x.csv", pd.DataFrame(rows, columns=list(IMAGE_COLUMNS)))
    table = read_images(tmp_path / "x.csv")
    assert table["key"].tolist() == ["007", "008"]
    assert table["subject"].tolist() == ["0012", "0013"]
    assert keys_of(table, Split.HOLDOUT) == ["008"]
    assert keys_of(table, Split.TRAIN, Split.HOLDOUT) == ["007", "008"]


def test_repeated_keys_are_refused(tmp_path):
    write_csv(tmp_path / "x.csv", pd.DataFrame([["a"] * 5] * 2, columns=list(IMAGE_COLUMNS)))
    with pytest.raises(DataError, match="first 'a'"):
        read_images(tmp_path / "x.csv")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2,3\n", b"\xff\xfe\x00\x01"])
def test_what_is_no_csv_is_named(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.csv"):
        read_csv(tmp_path / "x.csv", needs=("key",))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_other_programs_are_read(tmp_path, encoding, separator):
    rows = [("Image_Path", "SUBJECT", "age"), ("ä.png", "007", "31"), ('"b, c; d.png"', "1e5", "40")]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    table = read_csv(tmp_path / "x.csv", needs=("image_path", "subject"))
    assert table["subject"].tolist() == ["007", "1e5"]
    assert table["image_path"].tolist() == ["ä.png", "b, c; d.png"]
    assert table["age"].tolist() == [31, 40]


def test_tables_that_cannot_be_read_get_one_sentence(tmp_path):
    (tmp_path / "x.csv").write_bytes("image_path,subject\nä.png,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.csv: cannot be read as CSV .*save it as UTF-8"):
        read_csv(tmp_path / "x.csv", needs=("image_path",))
    (tmp_path / "y.csv").write_text("image_path,Subject,subject\na.png,1,2\n")
    assert read_csv(tmp_path / "y.csv", needs=("subject",))["subject"].tolist() == ["2"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A table in `data/`, started from the folder above, as the README of the reference does."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_lie_beside_the_table_or_below_the_working_directory(place):
    for name in ("data/a.png", "data/b.png"):
        (place / name).touch()
    table = place / "data" / "dataset.csv"
    found = locate_files(["a.png", "data/b.png", str(place / "data" / "a.png")], table)
    assert [path.resolve() for path in found] == [place / "data" / name for name in ("a.png", "b.png", "a.png")]
    assert found[0].is_absolute()
    assert [path.resolve() for path in locate_files(["a.png"], Path("data/dataset.csv"))] == [place / "data" / "a.png"]


def test_of_two_files_of_one_name_that_beside_the_table_is_read(place, monkeypatch):
    messages = []
    monkeypatch.setattr("deepssim.datasets.tables.logger.warning", lambda text, *values: messages.append(text % values))
    for name in ("a.png", "b.png", "data/a.png", "data/b.png"):
        (place / name).touch()
    table = Path("data/dataset.csv")
    assert locate_files(["a.png", "b.png"], table) == [Path("data/a.png"), Path("data/b.png")]
    assert len(messages) == 1
    assert "2 of 2 files exist both beside the table and below the working directory, first a.png" in messages[0]
    (place / "a.png").unlink()
    (place / "a.png").symlink_to(place / "data" / "a.png")  # one file under two names is no reason for a message
    assert locate_files(["a.png"], table) == [Path("data/a.png")]
    assert len(messages) == 1


def test_a_missing_file_is_named_in_both_places(place):
    table = place / "data" / "dataset.csv"
    (place / "a.png").touch()
    with pytest.raises(
        DataError, match=r"1 of 2 files cannot be used, first .*/data/b\.png or .*/b\.png, which do not exist"
    ):
        locate_files(["a.png", "b.png"], table)
    with pytest.raises(DataError, match="2 of 2 files cannot be used"):
        locate_files(["x" * 5000, "\0"], table)
    assert locate_files(["b.png"], table, required=False) == [place / "data" / "b.png"]
