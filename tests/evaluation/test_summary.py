import json

import pytest

from deepssim.errors import DataError
from deepssim.evaluation.summary import (
    SUMMARY_COLUMNS,
    headline,
    not_evaluated,
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
        "thresholds": {"different_up_to": 0.6, "duplicate_above": 0.85, "source": "published"}, "undefined": {}, "planted": None,
    }  # fmt: skip


def undefined(metric, misaligned):
    """An evaluation without duplicates."""
    reasons = dict.fromkeys(
        ("macro_f1", "weighted_f1", "f1_duplicate", "auroc", "auprc"), "no test pair is of class duplicate"
    )
    found = figures(metric, misaligned, None)
    return found | {"undefined": reasons, "copies": copy_rates(0, 0, 0.527)}


def planted(f1):
    """An evaluation on planted copies."""
    return figures("deepssim", False, f1) | {"planted_copies": 8, "planted_pairs": 12}


def registered(synthetic, low, high):
    """What `verify_copies` writes."""
    interval = {"value": 0.0, "low": 0.0, "high": 0.1, "count": 0, "total": 30, "method": "rule of three over subjects"}
    controls = {
        "kind": "held-out images",
        "images": 30,
        "subjects": 28,
        "copies": 0,
        "interval": interval,
        "highest_ssim": 0.712,
    }
    verdict = {
        "verdict": "copies found", "sentence": "Copies found: some.", "reservations": ["A reservation."], "chance": 0.5,
        "above_controls": interval,
    }  # fmt: skip
    copies = copy_rates(synthetic, low, high)
    copies["synthetic_interval"] |= {
        "value": synthetic / 8,
        "count": synthetic,
        "total": 8,
        "method": "Clopper-Pearson",
    }
    return {
        "copies": copies,
        "controls": controls,
        "planted": {"soft": interval},
        "verdict": verdict,
        "ssim_above": 0.85,
        "highest_ssim": 0.97,
    }


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
    (results / "eval" / "registered_copies.json").write_text(json.dumps(registered(3, 0.1, 0.7)))
    sentence, added = [line for line in headline(results).splitlines() if line not in before]
    assert sentence == "Copies found: some."
    assert "shifted" in added
    assert "37.5% (3 of 8)" in added


def test_the_headline_begins_with_the_verdict_and_with_what_is_undefined(results):
    assert headline(results).startswith("Cannot tell: 2 of 8 synthetic images copy a training image")
    for name, misaligned in (("deepssim", False), ("deepssim_misaligned", True)):
        item = undefined("deepssim", misaligned) | {"planted": planted(0.75)}
        (results / "eval" / f"{name}.json").write_text(json.dumps(item))
    lines = headline(results).splitlines()
    assert lines[1] == "Not evaluated: macro-F1, AUROC, AUPRC of deepssim: no test pair is of class duplicate."
    assert lines[2].startswith("Metrics were also tested on 12 planted images, 8 of them in place of duplicates")
    assert "undefined (misaligned undefined)" in lines[-2]
    assert lines[-1].startswith("macro-F1 of DeepSSIM on planted copies")
    assert "0.750 (misaligned 0.750)" in lines[-1]


def test_an_undefined_result_is_an_empty_cell():
    table = summary_table([figures("ssim", False, 1.0), undefined("ssim", True) | {"copies": None}])
    assert table["macro_f1"].isna().tolist() == [False, True]
    assert table["share_of_synthetic_that_copy"].isna().tolist() == [False, True]


def test_what_was_not_evaluated_is_said_once_for_each_reason():
    items = [undefined("ssim", False), undefined("ssim", True), undefined("dar", False), figures("fsim", False, 1.0)]
    items[2]["undefined"] = items[2]["undefined"] | {"copies": "no thresholds"}
    assert not_evaluated(items) == [
        "macro-F1, AUROC, AUPRC of ssim, dar: no test pair is of class duplicate.", "copy rate of dar: no thresholds.",
    ]  # fmt: skip


def test_missing_and_foreign_evaluations_are_named(results):
    (results / "eval" / "ssim.json").write_text("{}")
    with pytest.raises(DataError, match=r"ssim\.json: is not an evaluation result"):
        headline(results)
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_evaluation(results / "none.json")
    with pytest.raises(DataError, match=r"ssim\.json: holds no copy rates"):
        read_registered_copies(results / "eval" / "ssim.json")
    (results / "eval" / "registered_copies.json").write_text(json.dumps({"copies": copy_rates(3, 0.1, 0.7)}))
    with pytest.raises(DataError, match="earlier version and holds no verdict"):
        read_registered_copies(results / "eval" / "registered_copies.json")
