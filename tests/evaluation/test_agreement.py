"""Agreement of raters and repetitions, against calculations by hand and against other implementations."""

import numpy as np
import pytest

from deepssim.evaluation.agreement import cohen_kappa, fleiss_kappa, weighted_share
from deepssim.seeds import numpy_generator


def names(count):
    return [str(number) for number in range(count)]


def test_kappa_matches_hand_calculation():
    # 20 yes of both, 5 of the first only, 10 of the second only, 15 of none: observed 0.7, by chance 0.5.
    first = np.repeat([True, True, False, False], [20, 5, 10, 15])
    second = np.repeat([True, False, True, False], [20, 5, 10, 15])
    found = cohen_kappa(first, second, names(50))
    assert found.value == pytest.approx(0.4)
    # Large-sample error of Cohen 1960: sqrt(0.7 * 0.3 / (50 * 0.5**2)) = 0.13.
    assert found.low == pytest.approx(0.4 - 1.96 * 0.13, abs=0.05)
    assert found.high == pytest.approx(0.4 + 1.96 * 0.13, abs=0.05)
    assert found.total == 50


def test_kappa_of_full_agreement_keeps_a_lower_end():
    calls = np.repeat([True, False], 10)
    found = cohen_kappa(calls, calls, names(20))
    assert found.value == found.high == 1
    assert found.low == pytest.approx((0.05 ** (1 / 20) - 0.5) / 0.5)  # rule of three of 20, 0.5 agree by chance


def test_images_that_are_repeated_tell_nothing_new():
    first = np.repeat([True, True, False, False], [20, 5, 10, 15])
    second = np.repeat([True, False, True, False], [20, 5, 10, 15])
    once, twice = (
        cohen_kappa(first, second, names(50)),
        cohen_kappa(np.tile(first, 2), np.tile(second, 2), names(50) * 2),
    )
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high), abs=0.01)


@pytest.mark.parametrize("calls", [[], [True, True], [False]])
def test_kappa_is_undefined_for_one_class(calls):
    assert np.isnan(cohen_kappa(np.array(calls, bool), np.array(calls, bool), names(len(calls))).value)


@pytest.mark.parametrize("wrong", [0.02, 0.2, 0.4])
@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_the_interval_of_kappa_covers(rate, wrong):
    random, hits = numpy_generator(0, "kappa"), 0
    other = rate * (1 - wrong) + (1 - rate) * wrong
    chance = rate * other + (1 - rate) * (1 - other)
    truth = (1 - wrong - chance) / (1 - chance)
    for _ in range(200):
        first = random.random(40) < rate
        found = cohen_kappa(first, first ^ (random.random(40) < wrong), names(40))
        hits += found.low <= truth <= found.high
    assert hits / 200 >= 0.93  # 95 % less a standard error


def test_fleiss_kappa_of_two_matches_scott_and_of_three_a_hand_calculation():
    calls = np.array([[1, 1], [1, 0], [0, 0], [0, 0]], bool)
    # Scott's pi: observed 3/4; share of yes 3/8, by chance (3/8)^2 + (5/8)^2 = 34/64.
    assert fleiss_kappa(calls) == pytest.approx((3 / 4 - 34 / 64) / (30 / 64))
    three = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], bool)
    # Pairs that agree: 1, 1/3, 1, mean 7/9; share of yes 4/9, by chance 41/81.
    assert fleiss_kappa(three) == pytest.approx((7 / 9 - 41 / 81) / (40 / 81))
    assert np.isnan(fleiss_kappa(np.zeros((5, 3), bool)))
    assert np.isnan(fleiss_kappa(np.array([[True], [False]])))


def test_weighted_share_matches_hand_calculation():
    found = np.array([1, 1, 1, 0, 1, 0, 0, 0], bool)
    strata = ["above"] * 4 + ["below"] * 4
    # 10 * 3/4 = 7.5 above, 30 * 1/4 = 7.5 below.
    share = weighted_share(found, strata, {"above": 10, "below": 30}, "above", names(8))
    assert share.value == pytest.approx(0.5)
    assert 0 < share.low < 0.5 < share.high < 1
    everything = weighted_share(found, strata, {"above": 4, "below": 4}, "above", names(8))
    assert (everything.value, everything.low, everything.high) == pytest.approx((0.75, 0.75, 0.75))


def test_nothing_found_in_a_small_sample_of_a_large_stratum_is_no_certainty():
    share = weighted_share(
        np.repeat([True, False], [5, 20]), ["above"] * 5 + ["far"] * 20, {"above": 5, "far": 10_000}, "above", names(25)
    )
    assert share.value == 1
    assert share.low < 0.01


def test_the_interval_of_a_weighted_share_covers():
    random = numpy_generator(0, "weighted")
    sizes, rates = {"above": 60, "near": 100, "far": 1000}, {"above": 0.7, "near": 0.2, "far": 0.01}
    world = {name: random.random(size) < rates[name] for name, size in sizes.items()}
    truth = world["above"].sum() / sum(values.sum() for values in world.values())
    hits = 0
    for _ in range(200):
        drawn = {name: random.choice(values, 20, replace=False) for name, values in world.items()}
        strata = [name for name in drawn for _ in range(20)]
        share = weighted_share(np.concatenate(list(drawn.values())), strata, sizes, "above", names(60))
        hits += share.low <= truth <= share.high
    assert hits / 200 >= 0.95
