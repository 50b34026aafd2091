"""Two audits side by side: their results, and a warning where they were made differently."""

import copy
import json

import pytest

import deepssim
from deepssim.audit.comparison import compare, read_summary
from deepssim.errors import DataError
from tests.audit.folders import make_folders, tiny_encoder
from tests.html_rules import faults


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Return the folders of two reports: the second compares itself with the first, at another size."""
    folder = tmp_path_factory.mktemp("compared")
    root = make_folders(folder / "data")
    common = {
        "holdout": root / "holdout", "image_size": (32, 32), "controls": 4, "bootstrap": 10, "gallery": 8,
        "encoder": tiny_encoder(folder / "e.safetensors"), "subject_pattern": r"^([a-z]\d+)", "cache": folder / "cache",
    }  # fmt: skip
    deepssim.audit(root / "real", root / "synthetic", folder / "epoch_<10>", **common)
    common["false_positive_rate"] = 0.02
    deepssim.audit(root / "real", root / "synthetic", folder / "second", **common, compared=folder / "epoch_<10>")
    return folder / "epoch_<10>", folder / "second"


@pytest.fixture(scope="module")
def summary(reports):
    return read_summary(reports[0])


def test_the_page_shows_both_and_warns_where_settings_differ(reports):
    page = (reports[1] / "index.html").read_text()
    part = page[page.index('<h2 id="comparison-title">') : page.index('<h2 id="rates-title">')]
    assert "Not directly comparable" in part
    assert "setting audit.false_positive_rate" in part
    assert "epoch_&lt;10&gt;" in part
    for name in (
        "verdict",
        "synthetic images that copy a training image",
        "false alarms among negative controls",
        "planted copies found",
    ):
        assert name in part
    first = (reports[0] / "index.html").read_text()
    assert "comparison-title" not in first


def test_the_pages_are_accessible(reports):
    for report in reports:
        assert faults((report / "index.html").read_text()) == []


def test_an_audit_that_cannot_tell_has_no_rates_of_copies(summary):
    unsure = copy.deepcopy(summary)
    unsure["verdict"]["result"] = "cannot tell"
    rows = {row.name: row for row in compare(unsure, summary, "other").rows}
    for name in ("synthetic images that copy a training image", "training subjects copied", "training images copied"):
        assert (rows[name].this.total, rows[name].other.total > 0) == (0, True)
    assert rows["synthetic images above the limit"].this.total == summary["figures"]["flagged_share"]["total"]


def test_equal_audits_differ_in_nothing(summary):
    found = compare(summary, copy.deepcopy(summary), "same")
    assert found.differences == []
    assert all(repr(row.this) == repr(row.other) for row in found.rows)


def test_other_paths_are_no_difference_and_other_data_are(summary):
    other = copy.deepcopy(summary)
    other["settings"]["audit"] |= {"synthetic": "/elsewhere", "gallery": 3}
    assert compare(summary, other, "other").differences == []
    other["data"]["real"]["images"] += 1
    other["versions"]["deepssim"] = "0.0"
    other["settings"]["audit"]["compared_at"] = 64
    names = [row.name for row in compare(summary, other, "other").differences]
    assert names == ["version of deepssim", "training images", "setting audit.compared_at"]


def test_a_rate_without_an_interval_stays_without(summary):
    other = copy.deepcopy(summary)
    other["figures"]["synthetic_that_copy"] |= {"low": None, "high": None, "method": "fewer than 5 subjects"}
    rows = {row.name: row for row in compare(summary, other, "other").rows}
    shown = rows["synthetic images that copy a training image"].other
    assert shown.low != shown.low
    assert shown.value == summary["figures"]["synthetic_that_copy"]["value"]


def test_a_report_that_is_none_is_refused_before_the_audit(tmp_path):
    root = make_folders(tmp_path / "data")
    with pytest.raises(DataError, match="--compare takes the folder of a report"):
        deepssim.audit(root / "real", root / "synthetic", tmp_path / "out", compared=root)
    (tmp_path / "summary.json").write_text(json.dumps({"verdict": {}}))
    with pytest.raises(DataError, match="cannot be read as the summary of an audit by this version"):
        read_summary(tmp_path)
    assert not (tmp_path / "out" / "index.html").exists()
