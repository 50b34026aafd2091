import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from deepssim.evaluation.ranking import ranking_samples


def test_weighted_figures_agree_with_scikit_learn(random):
    scores = random.integers(0, 12, 80) / 12  # with ties
    positives = random.random(80) < 0.2 + 0.6 * scores
    weights = random.integers(0, 3, (4, 80))
    found = ranking_samples(scores, positives, weights)
    for row, weight in enumerate(weights):
        assert found["auroc"][row] == pytest.approx(roc_auc_score(positives, scores, sample_weight=weight))
        assert found["auprc"][row] == pytest.approx(average_precision_score(positives, scores, sample_weight=weight))
        fpr, tpr, _ = roc_curve(positives, scores, sample_weight=weight, drop_intermediate=False)
        assert found["fpr"][row] == pytest.approx(fpr[tpr >= 0.95].min())


def test_precision_at_recall_matches_a_hand_calculation():
    scores, positives = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    found = ranking_samples(scores, positives, np.ones((1, 4), int))
    assert found["precision"][0] == pytest.approx(2 / 3)  # both positives are above 0.7, with one negative
    assert found["fpr"][0] == 0.5
    assert found["tpr"][0] == 0.5


def test_a_sample_of_one_kind_has_no_figures():
    found = ranking_samples(np.array([0.1, 0.2]), np.array([True, False]), np.array([[1, 0], [1, 1]]))
    assert np.isnan(found["auroc"][0])
    assert found["auroc"][1] == 0
