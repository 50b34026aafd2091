import numpy as np
import pytest
from scipy.stats import binomtest

from deepssim.evaluation.intervals import (
    bootstrap_weights,
    clopper_pearson,
    rule_of_three,
    share_interval,
    widened_percentiles,
)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (1, 10), (7, 10), (10, 10), (3, 2000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_clopper_pearson_agrees_with_scipy(count, total, confidence):
    expected = binomtest(count, total).proportion_ci(confidence, method="exact")
    assert clopper_pearson(count, total, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_none_found_is_about_three_over_the_number():
    assert rule_of_three(1000) == pytest.approx(3 / 1000, rel=0.01)
    found = share_interval(0, 1000)
    assert (found.value, found.low, found.method) == (0, 0, "rule of three")
    assert (1 - found.high) ** 1000 == pytest.approx(0.05)  # with this share, none is found once in twenty times


def test_nothing_counted_says_nothing():
    found = share_interval(0, 0)
    assert (found.low, found.high) == (0, 1)
    assert np.isnan(found.value)


@pytest.mark.parametrize(("count", "total"), [(-1, 3), (4, 3)])
def test_impossible_shares_are_named(count, total):
    with pytest.raises(ValueError, match=f"a share of {count} of {total}"):
        share_interval(count, total)


def test_bootstrap_samples_keep_subjects_together():
    weights = bootstrap_weights(["a", "b", "a", "c"], 500, 0, "x")
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # three subjects are drawn
    assert weights.mean(axis=0) == pytest.approx(np.ones(4), abs=0.15)
    np.testing.assert_array_equal(weights, bootstrap_weights(["a", "b", "a", "c"], 500, 0, "x"))
    assert (weights != bootstrap_weights(["a", "b", "a", "c"], 500, 0, "y")).any()


def test_percentiles_are_widened_as_few_subjects_need(random):
    from scipy.stats import bootstrap

    values = random.normal(size=60)
    weights = bootstrap_weights([str(n) for n in range(60)], 4000, 0, "mean")
    samples = (weights @ values) / weights.sum(axis=1)
    expected = bootstrap((values,), np.mean, method="percentile", rng=1, n_resamples=4000).confidence_interval
    low, high = widened_percentiles(samples, 60, 60)
    assert low == pytest.approx(expected.low, abs=0.04)
    assert high == pytest.approx(expected.high, abs=0.04)
    few = widened_percentiles(samples, 60, 4)
    assert few[1] - few[0] > 1.4 * (high - low)  # Student's t of 3 degrees of freedom is 1.6 times the normal quantile
    assert np.isnan(widened_percentiles(samples, 60, 1)).all()
