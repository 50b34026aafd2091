import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from deepssim.evaluation.labelled_pairs import (
    Sampling,
    agreement_matrix,
    compare_metrics,
    disagreements,
    evaluate_labelled,
    fitted_classes,
    macro_f1,
)
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label

QUICK = Sampling(repetitions=200)


@pytest.fixture
def pairs(random):
    """300 pairs of 30 subjects; scores follow the classes with noise."""
    labels = random.permutation(np.arange(300) % 3)
    truth = np.array([0.3, 0.95, 0.72])[labels]
    return truth + random.normal(0, 0.1, 300), labels, [f"p{n // 10}" for n in range(300)]


def test_macro_f1_agrees_with_scikit_learn(pairs, random):
    scores, labels, _ = pairs
    weights = random.integers(0, 3, (5, 300))
    predicted = SSIM_THRESHOLDS.classify(scores)
    expected = [f1_score(labels, predicted, average="macro", sample_weight=weight) for weight in weights]
    np.testing.assert_allclose(macro_f1(labels, predicted, weights), expected)
    two = labels != Label.DUPLICATE  # a class that is absent does not count
    expected = f1_score(labels[two], predicted[two], average=None, labels=[0, 2]).mean()
    assert macro_f1(labels[two], predicted[two], np.ones((1, two.sum()), int))[0] == pytest.approx(expected)


def test_halves_are_classified_by_each_other(pairs):
    scores, labels, subjects = pairs
    predicted, fitted = fitted_classes(scores, labels, subjects, 0)
    assert len(fitted) == 2
    first = {
        subject for subject, one, two in zip(subjects, predicted, fitted[0].classify(scores), strict=True) if one != two
    }
    second = {
        subject for subject, one, two in zip(subjects, predicted, fitted[1].classify(scores), strict=True) if one != two
    }
    assert not first & second
    assert fitted_classes(scores, labels, ["p"] * 300, 0)[1] == []
    assert fitted_classes(scores, np.zeros(300, int), subjects, 0)[1] == []


def test_figures_have_intervals_that_hold_them(pairs):
    scores, labels, subjects = pairs
    shifted = evaluate_labelled(scores - 0.2, labels, subjects, SSIM_THRESHOLDS, QUICK)
    found = evaluate_labelled(scores, labels, subjects, SSIM_THRESHOLDS, QUICK)
    assert found["auroc"].value == pytest.approx(roc_auc_score(labels == 1, scores))
    for name in ("macro_f1", "macro_f1_fitted", "auroc", "auprc", "precision_at_recall", "fpr_at_recall"):
        assert found[name].low <= found[name].value <= found[name].high
        assert found[name].method == "jackknife by subject"
    # Thresholds that are fitted follow a score that is too low; published ones do not, and ranks do not care.
    assert shifted["macro_f1"].value < found["macro_f1"].value - 0.2
    assert shifted["macro_f1_fitted"].value == pytest.approx(found["macro_f1_fitted"].value, abs=0.01)
    assert shifted["auroc"].value == pytest.approx(found["auroc"].value)


def test_metrics_are_compared_on_the_same_samples(pairs, random):
    scores, labels, subjects = pairs
    noisy = scores + random.normal(0, 0.15, 300)
    both = {"good": scores, "copy": scores.copy(), "noisy": noisy}
    rows = compare_metrics(both, dict.fromkeys(both, SSIM_THRESHOLDS), labels, subjects, QUICK)
    named = {(row["first"], row["second"]): row for row in rows}
    assert len(rows) == 3
    same = named["good", "copy"]["macro_f1_difference"]
    assert same.value == 0
    assert np.isnan(same.low)  # equal on every pair: there is nothing to estimate an error from
    assert named["good", "copy"]["agreement"] == 1
    better = named["good", "noisy"]["macro_f1_difference"]
    assert better.low > 0
    alone = evaluate_labelled(scores, labels, subjects, SSIM_THRESHOLDS, QUICK)["macro_f1"]
    assert better.high - better.low < 2 * (alone.high - alone.low)


def test_disagreements_are_listed_widest_first():
    table = pd.DataFrame({"real_key": list("abc"), "synth_key": list("xyz"), "label": [0, 1, 2]})
    scores = {"one": np.array([0.1, 0.9, 0.7]), "two": np.array([0.9, 0.9, 0.2])}
    classes = {name: SSIM_THRESHOLDS.classify(values) for name, values in scores.items()}
    found = disagreements(table, scores, classes)
    assert found["real_key"].tolist() == ["a", "c"]
    assert found["one_class"].tolist() == ["different", "similar"]
    assert agreement_matrix(classes).loc["one", "two"] == pytest.approx(1 / 3)
