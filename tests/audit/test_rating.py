"""Pairs for readers from folders to the report: the page tells nothing, and ratings come back."""

import re
import shutil

import pandas as pd
import pytest

from deepssim.cli import main
from deepssim.errors import DataError
from deepssim.evaluation.verdict import Verdict
from tests.audit.folders import make_folders
from tests.audit.test_run import run
from tests.html_rules import faults

FILES = {"rating.html", "rating.csv"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = make_folders(tmp_path_factory.mktemp("data"), real=12, synthetic=14, holdout=8, copies=3)
    found = run(root, root / "report", root / "cache", holdout=root / "holdout", rating=True, rating_pairs=9)
    return root, found


def again(root, out, *ratings, **settings):
    settings = {"rating_pairs": 9, "ratings": [str(path) for path in ratings]} | settings
    return run(root, out, root / "cache", holdout=root / "holdout", **settings)


def fill(root, path, rate):
    """Rate the pairs of the report by a function of the names of both images, which readers do not see."""
    table = pd.read_csv(root / "report" / "rating.csv", dtype={"rating": str})
    table["rating"] = [rate(number) for number in table["number"]]
    table.to_csv(path, index=False)
    return path


def test_the_page_and_the_table_tell_nothing_but_the_pictures(made):
    root, _ = made
    page, table = (root / "report" / "rating.html").read_text(), pd.read_csv(root / "report" / "rating.csv")
    assert list(table.columns) == ["audit", "number", "pair", "rating"]
    assert len(table) == 9
    assert table["rating"].isna().all()
    sections = re.findall(r"<section class=.*?</section>", page, re.DOTALL)
    assert re.findall(r'data-pair="(.*?)"', page) == table["pair"].tolist()
    bare = set()
    for number, section in enumerate(sections, start=1):
        text = re.sub(r'src="data:image/webp;base64,[A-Za-z0-9+/=]+"', "", section)
        text = re.sub(r'pair-[0-9a-f]{12}| tabindex="-1"', "", text)
        bare.add(re.sub(rf"(?<=[ -]){number}\b", "", text))
    assert len(bare) == 1  # nothing else differs between pairs
    without = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    names = [path.name for side in ("real", "synthetic", "holdout") for path in (root / side).iterdir()]
    assert not any(name in without for name in names)
    assert not re.search(r"score|limit|confirmed|identical|borderline|above|below|https?:", without)
    assert "default-src 'none'" in without


def test_pairs_are_pictures_of_the_right_images(made):
    """A reader who calls what is identical the same agrees on the three planted copies."""
    root, found = made
    page = (root / "report" / "rating.html").read_text()
    pictures = re.findall(r'src="data:image/webp;base64,([A-Za-z0-9+/=]+)"', page)
    equal = [number for number in range(1, 10) if pictures[2 * number - 2] == pictures[2 * number - 1]]
    flagged = found["figures"]["flagged_share"]["count"]
    path = fill(root, root / "a.csv", lambda number: "same" if number in equal else "different")
    readers = again(root, root / "with", path)["readers"]
    reader = readers["readers"][0]
    assert reader["name"] == "Reader 1 (a.csv)"
    assert len(equal) == min(flagged, reader["strata"][0]["drawn"]) == reader["strata"][0]["same"] == 3
    assert reader["sensitivity"]["value"] == reader["specificity"]["value"] == reader["kappa"]["value"] == 1
    assert reader["of_all_pairs"]["sensitivity"]["value"] == 1
    assert readers["missed"] == 0
    report = (root / "with" / "index.html").read_text()
    assert 'id="readers"' in report
    assert faults(report) == []
    assert not FILES & {item.name for item in (root / "with").iterdir()}


def test_what_readers_see_below_the_limit_is_a_reservation(made):
    root, _ = made
    one, other = fill(root, root / "b.csv", lambda _: "same"), fill(root, root / "c.csv", lambda _: "unsure")
    found = again(root, root / "contradicted", one, other, de_identified=True)
    assert found["readers"]["missed"] == 6
    assert [reader["name"] for reader in found["readers"]["readers"]] == ["Reader 1", "Reader 2"]
    assert found["verdict"]["result"] == Verdict.COPIES
    assert found["verdict"]["sentence"].startswith("Readers call 6 pairs below the limit the same image")
    assert any("readers call 6 of 6 rated pairs" in text for text in found["verdict"]["reservations"])
    assert found["readers"]["readers"][1]["kappa"]["value"] is None
    assert found["readers"]["between"][0]["unsure"] == 9
    assert found["settings"]["audit"]["ratings"] == ["(left out: de-identified)"] * 2


def test_ratings_of_another_audit_are_refused(made, tmp_path):
    root, _ = made
    path = fill(root, tmp_path / "d.csv", lambda _: "same")
    with pytest.raises(DataError, match=r"d\.csv: the ratings are of audit-"):
        again(root, tmp_path / "other", path, seed=5)
    fewer = shutil.copytree(root / "synthetic", tmp_path / "data" / "synthetic")
    (fewer / "s13.png").unlink()
    for side in ("real", "holdout"):
        shutil.copytree(root / side, tmp_path / "data" / side)
    with pytest.raises(DataError, match=r"d\.csv: the ratings are of audit-"):
        again(tmp_path / "data", tmp_path / "other", path)
    assert not (tmp_path / "other").exists()


def test_ratings_are_not_overwritten(made, tmp_path, capsys):
    root, _ = made
    report = shutil.copytree(root / "report", tmp_path / "report")
    table = report / "rating.csv"
    main(["show", str(report)])
    assert str(table) in capsys.readouterr().out
    main(["verify", str(report)])
    assert "all 9 results match" in capsys.readouterr().out
    fill(root, table, lambda _: "same")
    before = table.read_text()
    with pytest.raises(DataError, match=r"rating\.csv: holds 9 ratings, which --rating would replace"):
        again(root, report, rating=True, force=True)
    assert table.read_text() == before
    again(root, report, table, force=True)  # without new pairs, nothing replaces them
    assert table.read_text() == before
