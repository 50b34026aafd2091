"""The memorization index: by hand, in [-1, 1], and monotone in the fraction of planted copies."""

import numpy as np
import pytest
from scipy.stats import median_abs_deviation

from deepssim.evaluation.groups import group_codes
from deepssim.evaluation.jackknife import jackknife_interval, leave_one_out
from deepssim.evaluation.memorization import _median, memorization_index, memorization_summary, standardised_excess


def people(count, images=1):
    return [f"h{row // images}" for row in range(count)]


def test_excess_by_hand_and_by_scipy(random):
    null = random.normal(2, 0.5, 101)
    found = standardised_excess(np.array([2.0, 4.0, np.inf, -np.inf]), null, people(101))
    spread = median_abs_deviation(null, scale=1 / 1.4826)
    np.testing.assert_allclose(found, (np.array([2.0, 4.0, np.inf, -np.inf]) - np.median(null)) / spread)
    index = memorization_index(np.array([0.0, 3.0, -3.0, np.inf, -np.inf]))
    np.testing.assert_allclose(index, [0, np.tanh(1), -np.tanh(1), 1, -1])


def test_each_subject_counts_once():
    assert _median(np.array([3.0, 1.0, 2.0, 10.0]), np.ones(4)) == 2.5
    assert _median(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 10.0])) == 3
    # Twenty images of one subject weigh as much as one image of each of 30 others.
    null, names = np.concatenate([np.full(20, 9.0), np.linspace(0, 1, 30)]), [*["a"] * 20, *people(30)]
    z = standardised_excess(np.array([0.5]), null, names)[0]
    assert abs(z) < 0.2


def test_units_do_not_matter(random):
    null, scores = random.gamma(2, size=60), random.gamma(2, size=40) + 1
    plain = standardised_excess(scores, null, people(60))
    np.testing.assert_allclose(standardised_excess(7 * scores + 3, 7 * null + 3, people(60)), plain)


def test_it_is_monotone_in_the_planted_fraction(random):
    """Unrelated images score like held-out ones, copies several times as high; 0 % stays about 0."""
    null, rates, found = random.gamma(4, 0.2, 200), [0.0, 0.02, 0.05, 0.1, 0.3, 0.6, 1.0], []
    unrelated, copies = random.gamma(4, 0.2, 500), 3 + random.gamma(4, 0.5, 500)
    null_index = memorization_index(standardised_excess(null, null, people(200)))
    for rate in rates:
        scores = np.where(np.arange(500) < rate * 500, copies, unrelated)
        index = memorization_index(standardised_excess(scores, null, people(200)))
        summary = memorization_summary(index, people(500), null_index, people(200))
        found.append(summary["excess"])
        assert summary["mean"].low < summary["mean"].value < summary["mean"].high
        assert -1 <= index.min() <= index.max() <= 1
    assert (np.diff(found) > 0).all()
    assert abs(found[0]) < 0.05
    np.testing.assert_allclose(found, rates, atol=0.12)  # about the fraction of copies


def test_there_is_no_index_without_a_null(random):
    few = standardised_excess(np.ones(5), random.normal(size=190), people(190, images=10))
    same = standardised_excess(np.ones(5), np.ones(100), people(100))
    for excess in (few, same):
        assert np.isnan(excess).all()
        found = memorization_summary(memorization_index(excess), people(5), np.zeros(3), people(3))
        assert found["mean"] is None
        assert found["reason"] == "needs negative controls of 20 subjects whose scores differ"


def test_the_mean_without_each_part_is_that_of_the_weights(random):
    index, groups = random.uniform(-1, 1, 900), [f"volume {number}" for number in random.integers(0, 700, 900)]
    null, subjects = random.uniform(-1, 1, 40), [f"subject {number}" for number in range(40)]
    weights = leave_one_out(groups, 3)
    assert len(weights) == 500  # parts of more subjects than that
    samples = np.array([(row / row.sum()) @ ((index + 1) / 2) for row in weights])
    expected = jackknife_interval(float(((index + 1) / 2).mean()), samples, len(set(groups)))
    found = memorization_summary(index, groups, null, subjects, seed=3)["mean"]
    assert [found.low, found.high] == pytest.approx([2 * expected.low - 1, 2 * expected.high - 1])
    assert found == memorization_summary(index, group_codes(groups)[0], null, subjects, seed=3)["mean"]
