"""Membership disclosure: F1 by hand, without reward for guessing, and its position beside the line."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from deepssim.evaluation.disclosure import _best_threshold, _f1, membership_disclosure


def names(count, images=1):
    return [f"s{row // images}" for row in range(count)]


def test_f1_by_hand_and_by_scikit_learn(random):
    # t = 0.2, TPR 0.5, FPR 0.25: precision = 0.1 / (0.1 + 0.2) = 1/3, recall 0.5, F1 = 2 * 1/6 / (5/6) = 0.4
    assert _f1(0.5, 0.25, 0.2) == pytest.approx(0.4)
    members, claimed = random.random(400) < 0.3, random.random(400) < 0.4
    rates = claimed[members].mean(), claimed[~members].mean(), members.mean()
    assert _f1(*rates) == pytest.approx(f1_score(members, claimed))


def test_the_threshold_has_the_highest_f1(random):
    members = random.random(80) < 0.5
    scores = np.round(random.normal(size=80) + members, 1)  # with ties
    best = _best_threshold(scores, members, members.mean())
    tried = [f1_score(members, scores >= threshold) for threshold in np.unique(scores)]
    assert f1_score(members, scores >= best) == pytest.approx(max(tried))
    assert _best_threshold(np.zeros(10), np.arange(10) < 5, 0.5) == -np.inf  # claim it of everyone


def test_a_perfect_attack_has_a_relative_f1_of_one():
    found = membership_disclosure(np.full(40, 0.9), np.full(30, 0.1), names(70))
    assert found.f1.value == found.relative_f1.value == 1
    assert found.naive_f1 == pytest.approx(2 / 3)
    assert found.position == "above"


@pytest.mark.parametrize("prevalence", [0.02, 0.5, 0.9])
def test_guessing_earns_nothing(random, prevalence):
    """F1 itself is that of the claim that everyone is a member, far above the line of 0.09 with half of them members."""
    found = [
        membership_disclosure(
            random.normal(size=200), random.normal(size=200), names(400), prevalence=prevalence, seed=seed
        )
        for seed in range(20)
    ]
    naive = 2 * prevalence / (1 + prevalence)
    assert np.mean([one.f1.value for one in found]) == pytest.approx(naive, abs=0.02)
    assert max(one.relative_f1.value for one in found) < 0.09
    assert {one.position for one in found} == {"not above"}


def test_copies_of_some_members_are_seen(random):
    train = random.normal(size=300)
    train[:150] += 8
    found = membership_disclosure(train, random.normal(size=300), names(600))
    # Those claimed at a distant threshold: TPR 1/2, F1 = 2/3, what guessing reaches; a low prevalence shows them.
    rare = membership_disclosure(train, random.normal(size=300), names(600), prevalence=0.05)
    assert rare.relative_f1.value > 0.4
    assert rare.position == "above"
    assert found.relative_f1.value < rare.relative_f1.value


def test_copies_of_a_fifth_of_the_members_are_not_cleared(random):
    """By hand: TPR 0.2, FPR 0, t 0.5: F1 = 0.2 / 0.6 = 1/3, below that of claiming everyone."""
    assert _f1(0.2, 0.0, 0.5) == pytest.approx(1 / 3)
    train = random.normal(size=300)
    train[:60] += 8
    found = membership_disclosure(train, random.normal(size=300), names(600))
    assert found.relative_f1.value < 0.09
    assert found.position == "not above"


def test_few_subjects_have_no_interval(random):
    found = membership_disclosure(random.normal(size=40), random.normal(size=40), names(80, images=10))
    assert np.isnan(found.f1.low)
    assert found.position == "not known"
    assert found.f1.method == "fewer than 5 subjects in a class"
    with pytest.raises(ValueError, match="prevalence is 1; it must lie between 0 and 1"):
        membership_disclosure(np.zeros(9), np.zeros(9), names(18), prevalence=1)
