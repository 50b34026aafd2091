"""Members against members: the range of random divisions, and what is said of an attack within it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.split_bias import SplitBias, compared_with_chance, split_bias
from deepssim.seeds import numpy_generator


def test_divisions_agree_with_scikit_learn(random):
    scores, codes = random.normal(size=60), np.repeat(np.arange(20), 3)
    found = split_bias(scores, [f"p{code:02d}" for code in codes], 20, repetitions=50, seed=4)
    draws, expected = numpy_generator(4, "split bias"), []
    for _ in range(50):
        half = np.isin(codes, draws.permutation(20)[:10])
        expected.append(roc_auc_score(half, scores))
    assert found.median == pytest.approx(np.median(expected))
    assert found.halves_high == pytest.approx(
        0.5 + np.sort(np.abs(np.array(expected) - 0.5))[48]
    )  # rank 0.95 * 51, rounded up
    assert found.halves_low == pytest.approx(1 - found.halves_high)
    # 20 against 20 subjects instead of 10 against 10: half of the variance; 2.093 is Student's t of 19 degrees of freedom.
    assert found.high - 0.5 == pytest.approx((found.halves_high - 0.5) / np.sqrt(2) * 2.093 / 1.96, rel=1e-3)


def test_single_images_have_the_range_of_the_mann_whitney_statistic(random):
    """Of n against n independent images, the AUROC has a standard deviation of sqrt((2n + 1) / (12 n n))."""
    found = split_bias(random.normal(size=200), [str(row) for row in range(200)], 100, repetitions=4000)
    assert found.halves_high - 0.5 == pytest.approx(1.96 * np.sqrt(201 / (12 * 100 * 100)), rel=0.06)
    assert found.median == pytest.approx(0.5, abs=0.01)


def test_images_of_one_subject_widen_the_range(random):
    subjects = np.repeat(np.arange(20), 10)
    alike = random.normal(size=20)[subjects] + 0.1 * random.normal(size=200)
    wide = split_bias(alike, subjects.astype(str), 20)
    narrow = split_bias(random.normal(size=200), subjects.astype(str), 20)
    assert wide.high - 0.5 > 2 * (narrow.high - 0.5)
    few = split_bias(alike, subjects.astype(str), 5)
    assert few.high > wide.high
    assert 0 <= few.low < few.high <= 1


@pytest.mark.parametrize(("subjects", "opponents"), [(9, 50), (50, 4)])
def test_too_few_subjects_have_no_range(random, subjects, opponents):
    found = split_bias(random.normal(size=subjects), [str(row) for row in range(subjects)], opponents)
    assert np.isnan(found.high)
    assert found.reason == f"needs 10 training and 5 held-out subjects, there are {subjects} and {opponents}"
    assert compared_with_chance(Interval(0.9, 0.8, 0.95, ""), found) == {"exceeds": None, "warning": None}


def test_a_warning_only_where_chance_would_pass_for_a_finding():
    chance = SplitBias(0.5, 0.4, 0.6, 0.42, 0.58, 200)
    assert compared_with_chance(Interval(0.7, 0.6, 0.8, ""), chance) == {"exceeds": True, "warning": None}
    assert compared_with_chance(Interval(0.55, 0.45, 0.65, ""), chance) == {"exceeds": False, "warning": None}
    within = compared_with_chance(Interval(0.57, 0.52, 0.62, ""), chance)
    assert within["exceeds"] is False
    assert within["warning"] == (
        "The AUROC of 0.57 lies within the range that random divisions of the training subjects reach (0.42 to 0.58): "
        "the division into members and non-members alone explains it."
    )
