"""The bound on epsilon: by the paper's tail, and below the true epsilon of mechanisms whose epsilon is known."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from deepssim.evaluation.one_run import epsilon_bound, one_run_bound


@pytest.mark.parametrize(("correct", "guesses"), [(80, 100), (7, 7), (60, 100), (499, 500)])
def test_the_bound_inverts_the_binomial_tail(correct, guesses):
    """As published: the epsilon at which P[Binomial(r, 1 / (1 + exp(-epsilon))) >= v] is 1 - confidence."""

    def tail(epsilon):
        return binom.sf(correct - 1, guesses, 1 / (1 + np.exp(-epsilon))) - 0.05

    assert epsilon_bound(correct, guesses) == pytest.approx(brentq(tail, -5, 20), abs=1e-6)


def test_bound_by_hand():
    # All of r right: q ** r = 0.05, so that epsilon = log(q / (1 - q)).
    q = 0.05 ** (1 / 20)
    assert epsilon_bound(20, 20) == pytest.approx(np.log(q / (1 - q)))
    assert epsilon_bound(20, 20, inclusion=0.8) == pytest.approx(np.log(q / (1 - q)) - np.log(4))
    assert epsilon_bound(50, 100) == epsilon_bound(0, 10) == epsilon_bound(0, 0) == 0
    with pytest.raises(ValueError, match="11 of 10 correct guesses"):
        epsilon_bound(11, 10)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("subjects", [20, 300])
def test_randomized_response_has_at_least_its_epsilon(random, epsilon, subjects):
    """Every subject's membership is told truthfully with probability exp(epsilon) / (1 + exp(epsilon))."""
    truth = 1 / (1 + np.exp(-epsilon))
    bounds = np.array([epsilon_bound(int(random.binomial(subjects, truth)), subjects) for _ in range(1000)])
    assert (bounds <= epsilon).mean() >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 1000)
    if subjects == 300 and epsilon:
        assert np.median(bounds) > 0.6 * epsilon  # and it says something


@pytest.mark.parametrize("inclusion", [0.2, 0.5, 0.8])
def test_ranked_guesses_of_a_known_mechanism(random, inclusion):
    """Scores are 1 for members with probability q, 0 for non-members with probability q, and copies of some others."""
    epsilon, bounds = 1.0, []
    q = 1 / (1 + np.exp(-epsilon))
    for seed in range(300):
        members = random.random(200) < inclusion
        told = np.where(random.random(200) < q, members, ~members)
        bounds.append(one_run_bound(told.astype(float), members, inclusion=inclusion, seed=seed).epsilon)
    assert (np.array(bounds) <= epsilon).mean() >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / 300)
    assert np.median(bounds) > 0.2 or inclusion == 0.8  # where nearly all are members, little can be shown


def test_equal_scores_tell_nothing_whatever_the_order_of_subjects():
    members = np.arange(100) < 50
    found = [one_run_bound(np.zeros(100), members, seed=seed) for seed in range(200)]
    assert np.mean([one.epsilon > 0 for one in found]) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert np.isnan(one_run_bound(np.zeros(0), np.zeros(0, bool)).epsilon)


def test_copies_of_few_members_are_enough():
    members = np.arange(400) % 2 == 0
    scores = np.where(members & (np.arange(400) < 80), 5.0, 0.0)  # 40 copied
    found = one_run_bound(scores, members)
    assert (found.guesses, found.correct) == (40, 40)
    assert found.epsilon == pytest.approx(epsilon_bound(40, 40, confidence=1 - 0.05 / 4))
