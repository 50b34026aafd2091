import itertools

import numpy as np
import pytest
from sklearn.metrics import f1_score

from deepssim.errors import DataError
from deepssim.evaluation.fitting import SourcedThresholds, fit_thresholds, read_thresholds, write_thresholds
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Thresholds


@pytest.mark.parametrize("seed", range(4))
def test_no_thresholds_are_better(seed):
    """Against trying every pair of cuts, with scikit-learn's F1; many scores are equal."""
    random = np.random.default_rng(seed)
    labels = random.choice([0, 1, 2], 60)
    scores = (np.array([0.2, 0.8, 0.5])[labels] + random.normal(0, 0.2, 60)).round(2)
    values = np.unique(scores)
    cuts = [values[0] - 1, *(values[1:] + values[:-1]) / 2, values[-1]]

    def quality(thresholds):
        return f1_score(labels, thresholds.classify(scores), average="macro")

    best = max(quality(Thresholds(*pair)) for pair in itertools.combinations_with_replacement(cuts, 2))
    assert quality(fit_thresholds(scores, labels)) == pytest.approx(best)


def test_separate_classes_are_told_apart_in_the_middle_of_the_gaps():
    scores = np.array([0.1, 0.2, 0.6, 0.7, 0.9, 1.0])
    fitted = fit_thresholds(scores, np.array([0, 0, 2, 2, 1, 1]))
    assert (fitted.low, fitted.high) == pytest.approx((0.4, 0.8))
    two = fit_thresholds(scores, np.array([0, 0, 0, 1, 1, 1]))  # nothing is similar
    assert (two.low, two.high) == pytest.approx((0.65, 0.65))


@pytest.mark.parametrize("classes", [(0, 1), (0, 2), (2, 1)])
def test_two_classes_are_separated_and_nothing_is_put_into_the_third(classes):
    scores = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    labels = np.repeat(classes, 3)
    fitted = fit_thresholds(scores, labels)
    np.testing.assert_array_equal(fitted.classify(scores), labels)
    assert 0.1 - 1e-9 <= fitted.low <= fitted.high <= 0.9


def test_neighbouring_floats_are_separated():
    scores = np.array([0.5, np.nextafter(0.5, 1), np.nextafter(np.nextafter(0.5, 1), 1)])
    labels = np.array([0, 2, 1])
    np.testing.assert_array_equal(fit_thresholds(scores, labels).classify(scores), labels)


def test_true_thresholds_are_found_again(random):
    scores = random.random(20_000)  # more scores of changing class than are tried
    fitted = fit_thresholds(scores, SSIM_THRESHOLDS.classify(scores + random.normal(0, 0.02, 20_000)))
    assert (fitted.low, fitted.high) == pytest.approx((SSIM_THRESHOLDS.low, SSIM_THRESHOLDS.high), abs=0.02)


def test_one_class_or_one_score_is_refused():
    with pytest.raises(DataError, match="cannot be fitted on 3 pairs of 1 class"):
        fit_thresholds(np.array([0.1, 0.2, 0.3]), np.zeros(3, int))
    with pytest.raises(DataError, match=r"on 2 pairs of one score 0\.5"):
        fit_thresholds(np.array([0.5, 0.5]), np.array([0, 1]))


def test_thresholds_in_a_file(tmp_path):
    path = tmp_path / "fsim.json"
    origin = SourcedThresholds(Thresholds(0.1, 0.7), "fitted on 3 pairs")
    write_thresholds(path, origin, "fsim")
    assert read_thresholds(path, "fsim") == origin
    with pytest.raises(DataError, match="holds thresholds of fsim, not dar"):
        read_thresholds(path, "dar")
    path.write_text("{}")
    with pytest.raises(DataError, match="does not hold thresholds"):
        read_thresholds(path, "fsim")
