import pandas as pd
import pytest

from deepssim.errors import DataError
from deepssim.reference.testsets import calibration_half, read_labelled, record_subjects, require_pairs

ROWS = [("a___training", "a___gen-0", 1), ("a___training", "b___gen-0", 0), ("b___training", "b___gen-0", 2)]


def write(tmp_path, rows):
    path = tmp_path / "test.csv"
    pd.DataFrame(rows, columns=["real_key", "synth_key", "label"]).to_csv(path, index=False)
    return path


def test_a_good_set_is_read(tmp_path):
    table = read_labelled(write(tmp_path, ROWS))
    assert table["label"].tolist() == [1, 0, 2]
    assert table["label"].dtype == "int64"
    require_pairs(table, ["a___training", "b___training"], ["a___gen-0", "b___gen-0"], "x")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ("../up___training", "a___gen-0", 0)], "column 'real_key': 1 of 4 keys cannot be used, first: image_uid '../up'"),
        ([*ROWS, ("a___training", "a___../gen", 0)], "column 'synth_key': 1 of 4 keys cannot be used, first: 'a___../gen'"),
        ([*ROWS, ("a", "a___gen-0", 0)], "1 of 4 keys cannot be used, first: 'a' is not an image key"),
        ([*ROWS, ("c___training", "a___gen-0", 3)], "1 of 4 labels are not 0 .different., .* first 3 in line 5"),
        ([*ROWS, ("c___training", "a___gen-0", 0.5)], "1 of 4 labels are not .* first 0.5 in line 5"),
        ([*ROWS, ("c___training", "a___gen-0", "copy")], "1 of 4 labels are not .* first 'copy' in line 5"),
        ([*ROWS, ROWS[1]], "1 of 4 rows repeat a pair, first 'a___training' and 'b___gen-0' in line 5"),
        (ROWS[:2], "1 of 3 classes have no pair, first 'similar'"),
        ([], "3 of 3 classes have no pair, first 'different'"),
    ],
)  # fmt: skip
def test_a_bad_set_is_one_sentence(tmp_path, rows, message):
    with pytest.raises(DataError, match=message) as raised:
        read_labelled(write(tmp_path, rows))
    assert "test.csv" in str(raised.value)


def test_pairs_without_a_score_are_named(tmp_path):
    table = read_labelled(write(tmp_path, ROWS))
    with pytest.raises(
        DataError, match="x: 2 of 3 pairs are not in the index .* first 'a___training' and 'b___gen-0' in line 3"
    ):
        require_pairs(table, ["a___training", "b___training"], ["a___gen-0"], "x")


def test_the_halves_share_no_subject():
    records = [f"r{n}" for n in range(20)]
    table = pd.DataFrame(
        [(f"{a}___training", f"{b}___gen-0") for a in records for b in records], columns=["real_key", "synth_key"]
    )
    fitting, judged = calibration_half(record_subjects(table, None), 1)
    sides = [
        set(table[part]["real_key"].str.split("___").str[0]) | set(table[part]["synth_key"].str.split("___").str[0])
        for part in (fitting, judged)
    ]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == set(records)
    assert fitting.sum() == judged.sum() == 100
    shuffled = table.sample(frac=1, random_state=0)
    again = pd.Series(calibration_half(record_subjects(shuffled, None), 1)[0], index=shuffled.index).sort_index()
    assert (again.to_numpy() == fitting).all()  # the order of rows decides nothing
    assert (calibration_half(record_subjects(table, None), 2)[0] != fitting).any()


def test_subjects_come_from_a_table_and_divide_the_pairs(tmp_path):
    records = [f"r{n}" for n in range(20)]
    table = pd.DataFrame(
        [(f"{a}___training", f"{b}___gen-0") for a in records for b in records], columns=["real_key", "synth_key"]
    )
    path = tmp_path / "subjects.csv"
    pd.DataFrame({"image_uid": records, "subject": [n // 5 for n in range(20)]}).to_csv(path, index=False)
    subjects = record_subjects(table, path)
    assert subjects["real"][0] == "0"
    assert subjects["synth"][399] == "3"
    fitting, judged = calibration_half(subjects, 1)
    sides = [{one for side in subjects.values() for one, is_in in zip(side, part, strict=True) if is_in}
             for part in (fitting, judged)]  # fmt: skip
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {"0", "1", "2", "3"}
