import json

import pytest

from deepssim.errors import DataError
from deepssim.evaluation.summary import (
    SUMMARY_COLUMNS,
    headline,
    read_evaluation,
    read_registered_copies,
    summary_table,
)


def copy_rates(synthetic, low, high):
    return {
        "synthetic_images": 8, "training_images": 4, "synthetic_copies": synthetic, "training_copied": 1,
        "share_of_synthetic_that_copy": synthetic / 8, "share_of_training_copied": 0.25,
        "synthetic_interval": {"low": low, "high": high}, "training_interval": {"low": None, "high": None},
    }  # fmt: skip


def figures(metric, misaligned, f1):
    per_class = {name: {"f1": f1} for name in ("different", "duplicate", "similar")}
    copies = copy_rates(2, 0.081, 0.555)
    return {
        "metric": metric, "misaligned": misaligned, "pairs": 90, "macro_f1": f1, "weighted_f1": f1, "silhouette": 0.5,
        "classes": list(per_class), "per_class": per_class, "mean_absolute_difference_to_ssim": 0.1, "copies": copies,
        "thresholds": {"different_up_to": 0.6, "duplicate_above": 0.85, "source": "published"},
    }  # fmt: skip


@pytest.fixture
def results(tmp_path):
    (tmp_path / "eval").mkdir()
    for name, item in {
        "ssim": figures("ssim", False, 1.0),
        "deepssim": figures("deepssim", False, 0.9),
        "deepssim_misaligned": figures("deepssim", True, 0.8),
    }.items():
        (tmp_path / "eval" / f"{name}.json").write_text(json.dumps(item))
    return tmp_path


def test_the_table_has_a_row_per_evaluation():
    table = summary_table([figures("ssim", False, 1.0), figures("ssim", True, 0.4)])
    assert set(SUMMARY_COLUMNS) < set(table.columns)
    assert table["images"].tolist() == ["aligned", "misaligned"]
    assert table["f1_duplicate"].tolist() == [1.0, 0.4]
    assert table["thresholds"].tolist() == ["published"] * 2


def test_the_headline_gives_three_numbers_and_three_places(results):
    text = headline(results)
    for part in ("report", "histogram", "F1 table", "25.0% (2 of 8)", "25.0% (1 of 4)", "0.900 (misaligned 0.800)"):
        assert part in text


def test_the_headline_adds_changed_copies_where_they_were_sought(results):
    before = headline(results).splitlines()
    (results / "eval" / "registered_copies.json").write_text(json.dumps({"copies": copy_rates(3, 0.1, 0.7)}))
    (added,) = [line for line in headline(results).splitlines() if line not in before]
    assert "shifted" in added
    assert "37.5% (3 of 8)" in added


def test_missing_and_foreign_evaluations_are_named(results):
    (results / "eval" / "ssim.json").write_text("{}")
    with pytest.raises(DataError, match=r"ssim\.json: is not an evaluation result"):
        headline(results)
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_evaluation(results / "none.json")
    with pytest.raises(DataError, match=r"ssim\.json: holds no copy rates"):
        read_registered_copies(results / "eval" / "ssim.json")
