"""Rates of copies without false alarms: what is promised holds in simulations whose truth is known."""

import numpy as np
import pytest

from deepssim.evaluation.excess import (
    alarms_of_limit,
    excess_rate,
    independent_controls,
    measured_alarms,
    rate_with_missed,
)
from deepssim.evaluation.groups import conformal_limit, rate_by_group
from deepssim.evaluation.intervals import share_interval
from tests.evaluation.test_groups import draw


def single(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def audit(random, design, rate, sensitivity, images=1000):
    """Return which images are flagged in an audit with a rate of copies, and how often controls are."""
    held_out, subjects = draw(random, *design)
    limit = conformal_limit(held_out, subjects, 0.01)
    found = (random.random(images) < rate) & (random.random(images) < sensitivity)
    return found | (random.normal(size=images) > limit.value), alarms_of_limit(limit)


# Slices of few subjects exceed a limit far less often than its promise; subtracting the promise would hide copies.
@pytest.mark.parametrize(
    ("design", "rate"),
    [((100, 1, 0.0), 0.02), ((20, 1, 0.0), 0.1), ((3, 40, 0.5), 0.1), ((20, 40, 0.5), 0.02), ((30, 10, 0.9), 0.3)],
)
def test_the_rate_of_copies_covers(random, design, rate):
    covered = with_missed = 0
    for seed in range(120):
        flagged, alarms = audit(random, design, rate, 1.0)
        found = excess_rate(flagged, single(1000), alarms, seed=seed)
        covered += found.low <= rate <= found.high
        flagged, alarms = audit(random, design, rate, 0.75)
        seen = (random.binomial(200, 0.75), 200)
        missed = rate_with_missed(np.zeros(1000, bool), flagged, single(1000), alarms, seen, seed=seed)
        with_missed += missed.low <= rate <= missed.high
    assert min(covered, with_missed) >= 0.93 * 120 - 5  # two standard deviations of the simulation


def test_missed_copies_are_added():
    flagged, certain = np.arange(500) < 50, np.arange(500) < 10
    alarms = measured_alarms(np.arange(500) < 5, single(500))
    found = rate_with_missed(certain, flagged, single(500), alarms, (80, 100))
    rest = (40 / 490 - 0.01) / (0.8 - 0.01)
    assert found.value == pytest.approx((10 + 490 * rest) / 500)
    assert found.low < found.value < found.high
    plain = excess_rate(flagged, single(500), alarms)
    assert plain.value == pytest.approx((50 / 500 - 0.01) / (1 - 0.01))
    for rate, seen in ((None, (5, 10)), (alarms, (0, 0)), (measured_alarms(np.arange(10) < 5, single(10)), (5, 10))):
        unknown = rate_with_missed(np.zeros(50, bool), np.arange(50) < 4, single(50), rate, seen)
        assert np.isnan(unknown.value)
        assert (unknown.low, unknown.high) == (0, 1)


def test_slices_of_one_volume_are_not_many_images():
    flagged, slices = np.arange(400) < 100, [str(row // 20) for row in range(400)]
    alarms = measured_alarms(np.arange(100) < 1, single(100))
    apart, together = (excess_rate(flagged, groups, alarms) for groups in (single(400), slices))
    assert together.high - together.low > 2 * (apart.high - apart.low)
    one = excess_rate(flagged, ["volume"] * 400, alarms)
    assert np.isnan(one.low)
    assert np.isnan(rate_with_missed(flagged, flagged, ["volume"] * 400, alarms, (9, 10)).low)
    every = excess_rate(np.ones(400, bool), slices, alarms)
    assert every.low < 0.9  # twenty volumes, not four hundred images


def test_nothing_found_or_nothing_known_is_the_plain_rate():
    none = np.zeros(100, bool)
    assert excess_rate(none, single(100), None) == rate_by_group(none, single(100))
    assert excess_rate(none, single(100), measured_alarms(none, single(100))).high == pytest.approx(1 - 0.05**0.01)
    assert measured_alarms(np.zeros(0, bool), []) is None


def test_copies_of_the_same_image_are_one_control():
    rates = [share_interval(50, 100), share_interval(100, 100)]
    assert independent_controls(rates, single(300)) == (75, 100)
    assert independent_controls(rates, [str(n % 20) for n in range(300)]) == (15, 20)
    assert independent_controls([], single(3)) == (0, 0)
