"""Statistics of images in groups: what is promised holds in simulations whose truth is known."""

import numpy as np
import pytest
from scipy.stats import beta, norm

from deepssim.evaluation.groups import (
    conformal_limit,
    effective_items,
    excess_probability,
    group_codes,
    rate_by_group,
    tail_limit,
)

# Subjects, images of each, correlation within a subject.
DESIGNS = [(1, 40, 0.9), (3, 40, 0.5), (5, 40, 0.9), (20, 10, 0.9), (20, 40, 0.0), (100, 1, 0.0), (200, 10, 0.5)]


def draw(random, groups, size, correlation):
    """Return normal scores that are correlated within groups, and the group of each."""
    shared, own = random.normal(size=(groups, 1)), random.normal(size=(groups, size))
    scores = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return scores.ravel(), [f"p{group}" for group in range(groups) for _ in range(size)]


def test_single_images_have_the_conformal_quantile():
    names = [str(number) for number in range(99)]
    limit = conformal_limit(np.arange(99) / 100, names, 0.05)
    assert (limit.value, limit.promised, limit.groups) == (0.94, 0.05, 99)  # the 95th of 99
    assert limit.exceeding == pytest.approx(4)
    few = conformal_limit(np.arange(9) / 10, names[:9], 0.05)
    assert (few.value, few.promised) == (0.8, pytest.approx(0.1))  # nine subjects can promise one in ten
    with pytest.raises(ValueError, match="at least one group"):
        conformal_limit(np.zeros(0), [], 0.1)


def test_every_subject_counts_once_however_many_images_there_are(random):
    scores = np.concatenate([np.arange(99) / 100, np.full(400, 0.99)])
    names = [str(number) for number in range(99)] + ["many"] * 400
    assert conformal_limit(scores, names, 0.05).value == pytest.approx(
        0.95
    )  # 400 of 499 images exceed it, 4 of 100 subjects
    # Duplicating all images of a subject changes nothing.
    scores, names = draw(random, 30, 3, 0.5)
    twice = conformal_limit(np.tile(scores, 2), names * 2, 0.1)
    assert twice.value == conformal_limit(scores, names, 0.1).value


@pytest.mark.parametrize("design", DESIGNS)
def test_alarms_keep_their_promise_and_false_verdicts_are_rare(random, design):
    alarms, verdicts, promised = [], 0, 1.0
    for seed in range(60):
        held_out, subjects = draw(random, *design)
        synthetic = random.normal(size=300)
        limit = conformal_limit(held_out, subjects, 0.02)
        alarms.append((synthetic > limit.value).mean())
        promised = limit.promised
        verdicts += excess_probability(synthetic, [str(n) for n in range(300)], held_out, subjects, seed) < 0.025
    error = np.std(alarms) / np.sqrt(len(alarms))
    assert np.mean(alarms) <= promised + 3 * error
    assert verdicts <= 5  # of 60: 2.5 % allowed, and chance exceeds 5 once in 350 repetitions


def test_an_excess_of_copies_is_seen_and_needs_subjects(random):
    held_out, subjects = draw(random, 85, 2, 0.5)
    copies = np.concatenate([random.normal(size=180), random.normal(6, 1, 20)])
    names = [str(number) for number in range(200)]
    assert excess_probability(copies, names, held_out, subjects, 0) < 0.025
    assert excess_probability(copies, ["one volume"] * 200, held_out, subjects, 0) > 0.025  # slices of one scan
    assert excess_probability(copies, names, held_out, ["one person"] * 170, 0) > 0.3
    assert excess_probability(np.zeros(0), [], held_out, subjects, 0) == 1


@pytest.mark.parametrize(
    ("design", "rate"),
    [((3, 20, 0.5), 0.1), ((5, 40, 0.9), 0.02), ((10, 10, 0.9), 0.1), ((30, 10, 0.9), 0.02), ((30, 10, 0.5), 0.02),
     ((100, 5, 0.5), 0.02), ((200, 1, 0.0), 0.02), ((30, 10, 0.9), 0.3)],
)  # fmt: skip
def test_intervals_of_rates_cover(random, design, rate):
    covered = 0
    for _ in range(200):
        scores, subjects = draw(random, *design)
        interval = rate_by_group(scores > norm.ppf(1 - rate), subjects)
        covered += interval.low <= rate <= interval.high
    assert covered >= 0.93 * 200 - 4  # two standard deviations of the simulation


def test_intervals_of_edge_cases():
    assert rate_by_group(np.zeros(0, bool), []).high == 1
    one = rate_by_group(np.array([True, False]), ["a", "a"])
    assert one.value == 0.5
    assert np.isnan(one.low)
    none = rate_by_group(np.zeros(40, bool), [str(n // 20) for n in range(40)])
    assert none.high == pytest.approx(1 - 0.05**0.5)  # of two subjects, not of forty images
    single = rate_by_group(np.arange(100) < 7, [str(n) for n in range(100)])
    assert (single.low, single.high) == pytest.approx((beta.ppf(0.025, 7, 94), beta.ppf(0.975, 8, 93)))


def test_images_of_a_subject_that_agree_count_as_one():
    found = np.repeat(np.arange(40) < 12, 10)
    subjects = [str(n // 10) for n in range(400)]
    assert effective_items(found, subjects) == pytest.approx(39, rel=0.1)


def test_the_highest_of_many_does_not_exceed_an_extrapolated_limit(random):
    """Values whose tail is exponential, as the limit takes it to be, and such with a lighter tail."""
    for kind in ("exponential", "normal"):
        exceeded = 0
        for _ in range(200):
            draws = random.exponential(0.2, 1600) if kind == "exponential" else np.abs(random.normal(0, 0.4, 1600))
            limit = tail_limit(draws[:100], [str(n) for n in range(100)], 1500, 0.025)
            exceeded += draws[100:].max() > limit
        assert exceeded <= 10
    assert tail_limit(draws[:19], [str(n) for n in range(19)], 10, 0.05) == float("inf")
    assert tail_limit(draws[:400], ["one"] * 400, 10, 0.05) == float("inf")


def test_a_tail_limit_is_neither_too_high_to_confirm_anything_nor_moved_by_units(random):
    draws, names = random.exponential(0.2, 400), [str(n) for n in range(400)]
    limit = tail_limit(draws, names, 1000, 0.025)
    assert limit == pytest.approx(0.2 * np.log(1000 / 0.025), rel=0.4)  # what one of 1000 exceeds once in 40 times
    assert tail_limit(3 * draws + 5, names, 1000, 0.025) == pytest.approx(3 * limit + 5)
    unknown = np.where(np.arange(400) < 10, np.nan, draws)
    assert np.isfinite(tail_limit(unknown, names, 1000, 0.025))


def test_groups_are_numbered_in_the_order_of_their_names(random):
    names = ["z", "a", "é", "e\u0301", "\U0001f600", "\ud83d", "\uffff", "", "a", "A", "10", "9", "\udce9x"]
    names += [f"name {number}" for number in random.integers(0, 50, 200)]
    order = sorted(set(names))
    codes, count = group_codes(names)
    assert (codes.tolist(), count) == ([order.index(name) for name in names], len(order))
    assert group_codes(codes)[0].tolist() == codes.tolist()
    assert group_codes([3, 20, 3])[0].tolist() == [1, 0, 1]  # as text
    assert group_codes([])[1] == 0
