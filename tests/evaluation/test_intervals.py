import numpy as np
import pytest
from scipy.stats import binomtest

from deepssim.evaluation.intervals import (
    bootstrap_weights,
    clopper_pearson,
    percentile_interval,
    rule_of_three,
    share_interval,
    share_with_missed,
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


def test_bootstrap_agrees_with_scipy(random):
    from scipy.stats import bootstrap

    values = random.normal(size=60)
    weights = bootstrap_weights([str(n) for n in range(60)], 4000, 0, "mean")
    found = percentile_interval(values.mean(), (weights @ values) / weights.sum(axis=1))
    expected = bootstrap((values,), np.mean, method="percentile", rng=1, n_resamples=4000).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_missed_copies_are_added():
    found = share_with_missed(10, 40, 500, (5, 500), (80, 100))
    rest = (40 / 490 - 0.01) / (0.8 - 0.01)
    assert found.value == pytest.approx((10 + 490 * rest) / 500)
    assert found.low < found.value < found.high
    without_missed = (40 / 500 - 0.01) / (1 - 0.01)
    assert share_with_missed(0, 40, 500, (5, 500), (100, 100)).value == pytest.approx(without_missed)
    for alarms, copies in (((0, 0), (5, 10)), ((0, 10), (0, 0)), ((5, 10), (5, 10))):
        unknown = share_with_missed(0, 4, 50, alarms, copies)
        assert np.isnan(unknown.value)
        assert (unknown.low, unknown.high) == (0, 1)


def test_what_is_missed_is_covered_as_often_as_promised(random):
    """Of 200 audits with 10 % copies, a quarter of which is missed, the interval holds the truth."""
    inside = 0
    for _ in range(200):
        flagged = random.binomial(400, 0.1 * 0.75 + 0.9 * 0.01)
        controls = (random.binomial(300, 0.01), 300), (random.binomial(200, 0.75), 200)
        found = share_with_missed(0, flagged, 400, *controls)
        inside += found.low <= 0.1 <= found.high
    assert inside >= 0.91 * 200
