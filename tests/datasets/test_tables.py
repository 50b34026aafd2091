import pandas as pd
import pytest

from deepssim.datasets.tables import IMAGE_COLUMNS, Split, keys_of, read_csv, read_images, write_csv
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
