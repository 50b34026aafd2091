import json

import numpy as np
import pandas as pd
import pytest

from deepssim.errors import DataError
from deepssim.evaluation.classification import NAMES, classification_report, copy_rates, evaluate
from deepssim.evaluation.fitting import PUBLISHED, SourcedThresholds
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, UNKNOWN
from deepssim.runtime.json_files import as_json
from deepssim.similarity.scores import ScoreMatrix

USED = SourcedThresholds(SSIM_THRESHOLDS, PUBLISHED)
NONE = SourcedThresholds(UNKNOWN, "could not be fitted")


def test_figures_match_a_hand_calculation():
    labels = np.array([0, 0, 0, 2, 2, 1])
    scores = np.array([0.1, 0.2, 0.7, 0.7, 0.8, 0.9])  # one different pair looks similar
    figures = classification_report(scores, labels, SSIM_THRESHOLDS)
    # different: precision 1, recall 2/3, F1 0.8; duplicate: 1; similar: precision 2/3, recall 1, F1 0.8
    assert figures["per_class"]["different"]["recall"] == pytest.approx(2 / 3)
    assert figures["per_class"]["similar"]["precision"] == pytest.approx(2 / 3)
    assert figures["macro_f1"] == pytest.approx((0.8 + 1 + 0.8) / 3)
    assert figures["weighted_f1"] == pytest.approx((3 * 0.8 + 1 + 2 * 0.8) / 6)
    assert figures["classes"] == ["different", "duplicate", "similar"]
    assert figures["confusion"] == [[2, 0, 1], [0, 1, 0], [0, 0, 2]]
    assert figures["thresholds"] == {"different_up_to": 0.6, "duplicate_above": 0.85}
    assert -1 <= figures["silhouette"] <= 1


def test_a_class_that_is_absent_does_not_count():
    figures = classification_report(np.array([0.1, 0.2, 0.7]), np.array([0, 0, 2]), SSIM_THRESHOLDS)
    assert figures["macro_f1"] == 1
    assert figures["per_class"]["duplicate"]["pairs"] == 0


@pytest.fixture
def matrix():
    scores = np.array([[0.9, 0.86, 0.1], [0.2, 0.3, 0.84], [0.99, 0.1, 0.1]], np.float32)
    return ScoreMatrix(["a", "b", "holdout"], ["x", "y", "z"], "ssim", scores)


def test_copies_are_counted_among_training_images_only(matrix):
    copies = copy_rates(matrix, ["a", "b"], SSIM_THRESHOLDS)
    assert (copies["synthetic_copies"], copies["training_copied"]) == (2, 1)
    assert copies["share_of_synthetic_that_copy"] == pytest.approx(2 / 3)
    assert copies["share_of_training_copied"] == 0.5
    assert copies["training_interval"].total == 2
    one = copy_rates(matrix, ["a", "b"], SSIM_THRESHOLDS, {"a": "p", "b": "p"})["training_interval"]
    assert one.value == 0.5
    assert np.isnan(one.low)  # two images of one subject
    assert copy_rates(matrix, ["holdout"], SSIM_THRESHOLDS)["synthetic_copies"] == 1


def test_evaluation_joins_by_key(matrix):
    test_set = pd.DataFrame([("b", "z", 0.84, 2), ("a", "x", 0.9, 1), ("a", "z", 0.2, 0)],
                            columns=["real_key", "synth_key", "ssim", "label"])  # fmt: skip
    figures = evaluate(matrix, test_set, ["a", "b"], USED)
    assert figures["macro_f1"] == 1
    assert figures["mean_absolute_difference_to_ssim"] == pytest.approx(0.1 / 3, abs=1e-6)
    with pytest.raises(DataError, match="1 of 3 real images are not among the scores, first 'b'"):
        evaluate(ScoreMatrix(["a"], matrix.synth_keys, "ssim", matrix.scores[:1]), test_set, ["a"], USED)


@pytest.mark.parametrize(
    ("rows", "used", "reason"),
    [
        ([("a", "z", 0.2, 0), ("b", "z", 0.84, 2)], USED, "no test pair is of class duplicate"),
        ([("a", "z", 0.2, 0)], USED, "no test pair is of class duplicate or similar"),
        ([], USED, "there are no test pairs"),
        ([("a", "x", 0.9, 1), ("a", "z", 0.2, 0), ("b", "z", 0.84, 2)], NONE, "could not be fitted"),
    ],
)
def test_what_is_undefined_is_null_and_says_why(matrix, rows, used, reason):
    test_set = pd.DataFrame(rows, columns=["real_key", "synth_key", "ssim", "label"])
    figures = evaluate(matrix, test_set, ["a", "b"], used)
    assert figures["macro_f1"] is figures["weighted_f1"] is None
    assert figures["undefined"]["macro_f1"] == figures["undefined"]["weighted_f1"] == reason
    assert (figures["copies"] is None) == (used is NONE) == ("copies" in figures["undefined"])
    absent = {"different", "similar", "duplicate"} - {NAMES[row[3]] for row in rows}
    for name, part in figures["per_class"].items():
        assert (part["f1"] is None) == (name in absent or used is NONE)
        assert (f"f1_{name}" in figures["undefined"]) == (name in absent)
    assert ("auroc" in figures["undefined"]) == ("duplicate" in absent)
    assert json.loads(json.dumps(as_json(figures)))["thresholds"]["source"] == used.source
