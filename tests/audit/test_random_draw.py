"""A draw of training subjects that the table of subjects declares, and what of it makes a bound on epsilon valid."""

import pandas as pd
import pytest

from deepssim.audit.random_draw import declared_draw
from deepssim.audit.run import audit_images
from deepssim.audit.subjects import read_subject_table
from deepssim.config.audit import AuditConfig
from deepssim.errors import DataError
from tests.audit.folders import make_folders

TRAIN, HOLDOUT = ["007", "007", "b", "other"], ["c", "d"]
COLUMNS = ("key", "path", "role", "subject", "split", "canary")
ROWS = [
    ("1", "x/1.png", "real", "007", "train", 1),
    ("2", "x/2.png", "real", "007", "train", 1),
    ("3", "x/3.png", "real", "b", "train", 0),
    ("4", "x/4.png", "holdout", "c", "holdout", 1),
    ("5", "x/5.png", "holdout", "d", "holdout", 0),
]


def draw(folder, rows=ROWS, columns=COLUMNS, train=TRAIN, holdout=HOLDOUT):
    pd.DataFrame(rows, columns=columns).to_csv(folder / "images.csv", index=False)
    options = AuditConfig(real="r", synthetic="s", subjects=str(folder / "images.csv"))
    return declared_draw(options, train, holdout)


def test_an_image_table_declares_who_took_part(tmp_path):
    found = draw(tmp_path)
    assert (found.inclusion, found.subjects, found.absent) == (0.5, {"007", "c"}, 0)
    assert read_subject_table(tmp_path / "images.csv")["image_path"].tolist()[0] == "x/1.png"


def test_subjects_without_images_are_counted(tmp_path):
    assert draw(tmp_path, train=["b"]).absent == 1


def test_without_a_declaration_there_is_no_draw(tmp_path):
    assert draw(tmp_path, [row[:-1] for row in ROWS], COLUMNS[:-1]) is None
    assert draw(tmp_path, [(*row[:-1], 0) for row in ROWS]) is None
    assert declared_draw(AuditConfig(real="r", synthetic="s"), TRAIN, HOLDOUT) is None


def test_images_on_the_wrong_side_are_refused(tmp_path):
    with pytest.raises(
        DataError, match="2 of 2 canaries have images on the other side .* first '007' among the holdout"
    ):
        draw(tmp_path, train=HOLDOUT, holdout=TRAIN)


@pytest.mark.parametrize("value", [2, 0.5, "yes", None])
def test_anything_but_0_and_1_is_refused(tmp_path, value):
    with pytest.raises(DataError, match="column 'canary' is neither 0 nor 1 in 1 of 5 rows, first in line 4"):
        draw(tmp_path, [*ROWS[:2], (*ROWS[2][:-1], value), *ROWS[3:]])


def test_an_audit_gives_a_valid_bound_for_a_declared_draw(tmp_path):
    make_folders(tmp_path)
    files = [path for name in ("real", "holdout") for path in sorted((tmp_path / name).iterdir())]
    table = pd.DataFrame({
        "image_path": [str(path) for path in files],
        "subject": [path.name[:3] for path in files],
        "split": ["train" if path.parent.name == "real" else "holdout" for path in files],
        "canary": 1,
    })  # fmt: skip
    common = {"holdout": tmp_path / "holdout", "cache": tmp_path / "cache", "bootstrap": 10, "controls": 3}
    table.to_csv(tmp_path / "images.csv", index=False)
    found = audit_images(
        tmp_path / "real", tmp_path / "synthetic", tmp_path / "out", subjects=tmp_path / "images.csv", **common
    )
    epsilon = found["further"]["epsilon"]
    assert (epsilon["valid"], epsilon["reason"], epsilon["inclusion"]) == (True, None, 0.5)
    assert "not drawn at random" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    table.drop(columns="canary").to_csv(tmp_path / "plain.csv", index=False)
    found = audit_images(
        tmp_path / "real", tmp_path / "synthetic", tmp_path / "plain", subjects=tmp_path / "plain.csv", **common
    )
    assert not found["further"]["epsilon"]["valid"]
    assert "were not drawn at random" in found["further"]["epsilon"]["reason"]
