import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from deepssim.evaluation.silhouette import silhouette


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("digits", [1, 8])
def test_equal_to_scikit_learn(random, classes, digits):
    """With many equal scores and with none."""
    labels = random.integers(0, classes, 500)
    scores = (labels + random.normal(size=500)).round(digits)
    assert silhouette(scores, labels) == pytest.approx(silhouette_score(scores[:, None], labels), abs=1e-12)


def test_a_class_of_one_counts_nothing():
    scores, labels = np.array([0.0, 1.0, 2.0, 9.0]), np.array([0, 0, 1, 1])
    lone = np.array([0.0, 1.0, 2.0]), np.array([0, 0, 1])
    for case in ((scores, labels), lone):
        assert silhouette(*case) == pytest.approx(silhouette_score(case[0][:, None], case[1]), abs=1e-12)


def test_order_and_shift_do_not_matter(random):
    scores, labels = random.normal(size=200), random.integers(0, 3, 200)
    order = random.permutation(200)
    assert silhouette(scores[order] + 5, labels[order]) == pytest.approx(silhouette(scores, labels), abs=1e-9)


def test_equal_scores_have_no_silhouette():
    assert silhouette(np.ones(6), np.array([0, 0, 1, 1, 2, 2])) == 0
