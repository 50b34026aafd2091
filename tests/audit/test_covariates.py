"""Who is copied: the most copied subjects, and groups of them, from folders to the report."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import deepssim
from deepssim.audit.covariates import NOT_NAMED, covariate_rates
from deepssim.audit.leakage import Copies
from deepssim.audit.sides import Side
from deepssim.audit.summary_schema import AuditSummary
from deepssim.audit.worst_case import worst_case
from deepssim.config.audit import AuditConfig
from deepssim.config.settings import parse_config
from deepssim.errors import ConfigError, DataError
from deepssim.evaluation.strata import NOT_STATED
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings
from tests.audit.folders import make_folders
from tests.audit.test_summary_pdf import pdf_text

QUICK = {"compared_at": 64, "controls": 1, "gallery": 1, "borderline": 2, "bootstrap": 20}
SITES = ("Northwood", "Southport")


def copies_of(original, flagged, images):
    flagged = np.array(flagged, bool)
    copied = np.zeros(images, bool)
    copied[np.array(original)[flagged]] = True
    count = len(flagged)
    return Copies(
        flagged, np.zeros(count, bool), np.array(original), np.arange(count, 0.0, -1), np.zeros((count, 5)), copied
    )


def side(subjects):
    keys = [f"{subject} {number}" for number, subject in enumerate(subjects)]
    pack = ImagePack(np.zeros((len(keys), 8, 8), np.uint8), keys)
    return Side(pack, keys, list(subjects), Embeddings(np.ones((len(keys), 1), np.float32), keys, "", ""))


def test_the_most_copied_come_first_with_their_part_of_all_copies():
    train = side([f"p{number}" for number in range(40)])
    copies = copies_of([3] * 6 + [5, 5, 8, 9], [True] * 9 + [False], 40)
    found = worst_case(copies, train, side([f"s{number}" for number in range(10)]), str.upper, 0.95)
    assert (found["copies"], found["subjects"], found["copied"]) == (9, 40, 3)
    assert [(row["subject"], row["copies"]) for row in found["most_copied"]] == [("P3", 6), ("P5", 2), ("P8", 1)]
    assert [(row["subjects"], row["copies"]) for row in found["top"]] == [(1, 6), (4, 9), (5, 9)]
    first = found["most_copied"][0]
    assert first["fraction_of_copies"] == pytest.approx(6 / 9)
    assert (first["fraction_of_synthetic"].count, first["fraction_of_synthetic"].total) == (6, 10)
    assert found["confidence_of_each"] == pytest.approx(1 - 0.05 / 40)
    assert found["probability_by_chance"] < 1e-3


def test_slices_of_one_generated_volume_are_one_act_of_copying():
    train, copies = side([f"p{number}" for number in range(40)]), copies_of([3] * 6, [True] * 6, 40)
    apart = worst_case(copies, train, side([f"s{number}" for number in range(6)]), str, 0.95)
    together = worst_case(copies, train, side(["volume"] * 6), str, 0.95)
    assert apart["probability_by_chance"] < 1e-5
    assert together["probability_by_chance"] == pytest.approx(1)  # one volume copies somebody, whoever it is
    assert np.isnan(together["most_copied"][0]["fraction_of_synthetic"].low)


def test_nobody_copied_has_no_worst_case():
    found = worst_case(copies_of([0, 1], [False, False], 4), side("abcd"), side("xy"), str, 0.95)
    assert (found["copies"], found["copied"], found["most_copied"], found["probability_by_chance"]) == (0, 0, [], None)


def test_values_of_a_column_are_compared_with_all_others():
    subjects = [f"p{number}" for number in range(60)]
    columns = {"sex": ["F", "M"] * 30, "age": [str(20 + number) for number in range(60)], "flat": ["x"] * 60}
    copies = copies_of(list(range(0, 50, 2)), [True] * 25, 60)  # women under 70 only
    found = covariate_rates(copies, subjects, columns, confidence=0.95)
    sex, age, flat = (column["levels"] for column in found["columns"])
    assert [(row["level"], row["subjects"].count, row["copies"], row["differs"]) for row in sex] == [
        ("F", 25, 25, True), ("M", 0, 0, True),
    ]  # fmt: skip
    assert [row["level"] for row in age] == ["below 35", "35 to 49", "50 to 63", "64 or more"]
    assert (flat[0]["difference"], flat[0]["differs"]) == (None, None)
    assert found["comparisons"] == 5  # of two values one difference, of one none
    assert found["few"] == 4
    assert found["confidence_of_differences"] == pytest.approx(0.99)


def test_without_columns_the_reason_is_given():
    found = covariate_rates(copies_of([0], [True], 2), ["a", "b"], {}, confidence=0.95)
    assert (found["columns"], found["comparisons"], found["reason"]) == ([], 0, NOT_NAMED)


def test_hidden_values_are_numbers_and_those_of_few_are_pooled():
    subjects = [f"p{number}" for number in range(20)]
    columns = {"site": ["Northwood"] * 9 + ["Southport"] * 8 + ["Tiny A", "Tiny B"] + [""]}
    found = covariate_rates(copies_of([0], [True], 20), subjects, columns, confidence=0.95, salt=b"12345678")
    assert [row["level"] for row in found["columns"][0]["levels"]] == ["value 1", "value 2", "value 3", NOT_STATED]
    assert sorted(row["subjects"].total for row in found["columns"][0]["levels"]) == [1, 2, 8, 9]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders whose copies are all of the first site's patients, with a table."""
    root = make_folders(tmp_path_factory.mktemp("made"), real=80, synthetic=26, holdout=44, copies=24)
    names = sorted(path.name for side in ("real", "holdout") for path in (root / side).iterdir())
    rows = [
        {
            "image_path": name,
            "subject": name[:3],
            "Site": SITES[name[0] == "p" and int(name[1:3]) >= 20],
            "age": "" if name == "p00_0.png" else 30 + int(name[1:3]),
        }
        for name in names
    ]
    pd.DataFrame(rows).to_csv(root / "people.csv", index=False)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def run(root, out, cache, **settings):
    chosen = QUICK | {"holdout": root / "holdout", "subjects": root / "people.csv", "cache": cache} | settings
    found = deepssim.audit(root / "real", root / "synthetic", out, **chosen)
    AuditSummary.model_validate_json(json.dumps(found))
    return found


def test_the_report_says_who_is_copied(made, tmp_path, cache):
    found = run(made, tmp_path / "report", cache, covariates=("site", "age"))
    site, age = found["covariates"]["columns"]
    north, south = site["levels"]
    assert (north["level"], north["subjects"]["count"], north["subjects"]["total"]) == ("Northwood", 12, 20)
    assert north["subjects"]["low"] <= 0.6 <= north["subjects"]["high"]
    assert (south["level"], south["subjects"]["value"]) == ("Southport", 0)
    assert north["differs"] is True
    assert age["levels"][-1]["level"] == NOT_STATED
    page = (tmp_path / "report" / "index.html").read_text()
    text = " ".join(re.sub("<[^>]+>", " ", page).split())
    assert "Northwood 12 20 60.0 % (" in text
    assert "One comparison in 20 shows a difference by chance: the intervals of the 6 differences are corrected" in text
    assert "The most copied subject" in text
    assert found["worst_case"]["copies"] == found["figures"]["flagged_share"]["count"]


def test_the_report_says_what_images_of_the_same_subject_are_called(made, tmp_path, cache):
    found = run(made, tmp_path / "report", cache)
    same = found["controls"]["same_subject"]
    assert (same["images"], same["called"]["total"], same["reason"]) == (80, 80, None)
    assert same["called"]["value"] < 0.1  # second images of these subjects are of other pictures
    sentence = f"Of 80 training images, judged as if they were synthetic, {same['called']['count']}"
    page = " ".join((tmp_path / "report" / "index.html").read_text().split())
    assert page.count(sentence) == 2  # among the limits of the audit, and beside the false alarms
    assert "same subject, another image, above the limit" in page
    assert sentence in " ".join(pdf_text(tmp_path / "report" / "summary.pdf").split())
    assert found["covariates"]["reason"] == NOT_NAMED


def test_a_column_visit_tells_visits_apart(made, tmp_path, cache):
    table = pd.read_csv(made / "people.csv", dtype=str)
    table.assign(Visit="the only one").to_csv(made / "one_visit.csv", index=False)
    found = run(made, tmp_path / "report", cache, subjects=made / "one_visit.csv")
    assert found["controls"]["same_subject"]["eligible"] == 0
    assert "no patient is known to have images of several visits" in (tmp_path / "report" / "index.html").read_text()


def test_a_de_identified_report_names_no_value(made, tmp_path, cache):
    found = run(made, tmp_path / "report", cache, covariates=("site", "age"), de_identified=True)
    levels = [row["level"] for column in found["covariates"]["columns"] for row in column["levels"]]
    assert {*levels} <= {"value 1", "value 2", "value 3", "value 4", NOT_STATED}
    assert found["worst_case"]["most_copied"][0]["subject"].startswith("subject ")
    for path in (tmp_path / "report").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(value.encode() in content for value in (*SITES, "p00_", "people.csv", "40 to", "59 or more"))


def test_a_wrong_column_is_refused_before_any_image_is_read(made, tmp_path, cache):
    with pytest.raises(DataError) as refused:
        run(made, tmp_path / "report", cache, covariates=("site", "Sex"))
    text = str(refused.value)
    assert text == (
        f"{made / 'people.csv'}: has no column 'Sex', 1 of 2 that audit.covariates names; beside image_path and subject it has "
        "'Site', 'age': correct the name in audit.covariates, or add the column"
    )


def test_two_values_for_one_image_are_refused(made, tmp_path, cache):
    table = pd.read_csv(made / "people.csv", dtype=str)
    pd.concat([table, table.iloc[:1].assign(Site="Elsewhere")]).to_csv(made / "twice.csv", index=False)
    with pytest.raises(DataError, match=r"two values of site for one image, 'h00_0.png': 'Northwood' and 'Elsewhere'"):
        run(made, tmp_path / "report", cache, subjects=made / "twice.csv", covariates=("site",), holdout=None)


def test_columns_need_a_table():
    with pytest.raises(ConfigError, match=r"names 1 columns of a table of subjects, first 'age', and there is none"):
        parse_config({"audit": {"covariates": ["age"]}})
    assert AuditConfig().covariates == ()
