"""The score of a pair: that of a calculation by hand, monotone in each cue, and learned from what separates copies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepssim.detection.score import COSINE, VOLUMES, Score, default_score, learn_score, transformed
from deepssim.detection.search import Found
from deepssim.registration.proof import CUES
from deepssim.registration.volume_proof import VOLUME_CUES

CUE = len(CUES)


def found_of(cues: np.ndarray, partners: np.ndarray | None = None) -> Found:
    """Return candidates with these cues, float (N, K, C); by default the partners 0 to K - 1."""
    count, width = cues.shape[:2]
    partners = np.tile(np.arange(width), (count, 1)) if partners is None else partners
    return Found(partners, cues.astype(np.float32), np.ones((count, width), np.float32), np.ones((count, width), bool))


def unrelated(random: np.random.Generator, count: int = 100, width: int = 3, cues: int = CUE) -> np.ndarray:
    """Draw cues of unrelated pairs: a few keypoints, middling similarities."""
    keypoints = random.poisson(6, (count, width, 2))
    return np.concatenate([keypoints, random.beta(5, 5, (count, width, cues - 2))], axis=2)


def some_score() -> Score:
    return Score(
        CUES, np.array([5.0, 6, 1, 1, 1]), np.array([10.0, 4, 0.5, 1, 2]), np.array([1, 0.5, 1, 0.75, 1]), (0, 0)
    )


def test_cues_are_transformed_so_that_tails_are_exponential():
    values = transformed(np.array([3, 40, 0, 1 - np.exp(-2), 1], np.float32))
    np.testing.assert_allclose(values, [3, 40, 0, 2, np.log(1000)], rtol=1e-5)
    np.testing.assert_allclose(transformed(np.array([0, 0, -1.0, -5, 0.5])), [0, 0, -np.log(2), -np.log(2), np.log(2)])


def test_the_score_matches_hand_calculation():
    cues = np.array([25, 4, 1 - np.exp(-2), 0, 1 - np.exp(-3)])
    # Above the medians 20, less than 0, 1, less than 0, 2; in units of chance 2, 0, 2, 0, 1.
    score = some_score()
    np.testing.assert_allclose(score.standardised(cues), [2, 0, 2, 0, 1], rtol=1e-6)
    assert score.of_cues(cues) == pytest.approx((2**4 + 2**4 + 1) ** 0.25)


def test_beyond_twelve_nothing_is_surer():
    assert some_score().standardised(np.array([1e4, 0, 0, 0, 0])).max() == 12


@given(
    cues=st.tuples(*[st.floats(0, 100)] * 2, *[st.floats(-1, 1)] * 3),
    column=st.integers(0, CUE - 1), more=st.floats(0, 50),
)  # fmt: skip
def test_more_of_any_cue_never_lowers_the_score(cues, column, more):
    other = np.array(cues)
    other[column] += more
    assert some_score().of_cues(other) >= some_score().of_cues(np.array(cues)) >= 0


def test_one_strong_cue_is_enough(random):
    score = learn_score(found_of(unrelated(random)), found_of(np.zeros((0, 3, CUE))), [])
    for column in range(CUE):
        cues = np.median(unrelated(random), axis=(0, 1))
        cues[column] = 60 if column < 2 else 0.999
        assert score.of_cues(cues) > 2


def test_candidates_that_are_none_have_no_score(random):
    partners = np.array([[4, -1, -1], [-1, -1, -1]])
    values = some_score().of(found_of(unrelated(random, 2), partners))
    np.testing.assert_array_equal(np.isfinite(values), partners >= 0)
    assert (values[partners < 0] == -np.inf).all()


def test_chance_is_learned_from_the_best_candidates(random):
    cues = unrelated(random)
    score = learn_score(found_of(cues), found_of(np.zeros((0, 3, CUE))), [])
    best = transformed(cues.astype(np.float32)).max(axis=1)
    np.testing.assert_allclose(score.medians, np.median(best, axis=0))
    top = np.sort(best, axis=0)[-3:].mean(axis=0)  # 2 % of 100 are 2, but no fewer than 3
    np.testing.assert_allclose(score.scales, np.maximum(top - score.medians, [3, 3, 0.1, 0.1, 0.1]))
    np.testing.assert_array_equal(score.weights, 1)
    assert score.learned_from == (100, 0)


def test_where_unrelated_images_share_no_keypoints_one_is_still_nothing(random):
    cues = unrelated(random)
    cues[..., :2] = 0
    score = learn_score(found_of(cues), found_of(cues[:0]), [])
    one, many = np.zeros(len(CUES)), np.zeros(len(CUES))
    one[0], many[0] = 1, 30
    assert score.of_cues(one) < 0.5
    assert score.of_cues(many) > 5


def test_candidates_that_are_none_say_nothing_of_chance(random):
    cues = unrelated(random)
    cues[:, 2] = 30, 1000, 0.9, 0.9, 0.9
    partners = np.tile([0, 1, -1], (100, 1))
    copies = found_of(unrelated(random, 40))
    learned = learn_score(found_of(cues, partners), copies, np.zeros(40))
    assert learned.medians.max() < 30
    cues[:, 2] = 0
    np.testing.assert_array_equal(learned.weights, learn_score(found_of(cues, partners), copies, np.zeros(40)).weights)


@pytest.mark.parametrize("count", [0, 1, 19])
@pytest.mark.parametrize("cues", [CUE, CUE + 1])
def test_few_images_use_the_defaults(count, cues, random):
    score = learn_score(
        found_of(unrelated(random, count, cues=cues)), found_of(unrelated(random, 50, cues=cues)), np.zeros(50)
    )
    assert score.learned_from == (0, 0)
    assert score.names == (*CUES, COSINE)[:cues]
    assert len(score.medians) == len(score.scales) == len(score.weights) == cues
    assert (score.scales > 0).all()
    assert score.of_cues(np.array([100, 100, 0.9, 0.95, 0.95, 0.99])[:cues]) > 3
    assert score.of_cues(np.zeros(cues)) == 0


def test_no_candidates_at_all_use_the_defaults():
    empty = Found(
        np.zeros((30, 0), int), np.zeros((30, 0, CUE), np.float32), np.zeros((30, 0)), np.zeros((30, 0), bool)
    )
    assert learn_score(empty, empty, np.zeros(30)).learned_from == (0, 0)


@pytest.mark.parametrize("column", range(CUE))
def test_the_cue_that_separates_has_the_most_weight(column, random):
    copies = unrelated(random, 60, 1)
    # Chance reaches about twice of it, so that its weight decides.
    cues = unrelated(random)
    score = learn_score(found_of(cues), found_of(np.zeros((0, 3, CUE))), [])
    target = score.medians[column] + 1.25 * score.scales[column]
    copies[..., column] = target if column < 2 else 1 - np.exp(-target)
    learned = learn_score(found_of(cues), found_of(copies), np.zeros(60))
    assert learned.weights[column] == learned.weights.max()
    assert learned.weights[column] > np.delete(learned.weights, column).max()
    assert learned.learned_from == (100, 60)


@given(seed=st.integers(0, 2**32 - 1))
def test_no_cue_is_ever_left_out(seed):
    random = np.random.default_rng(seed)
    copies = unrelated(random, 25, 1)
    copies[..., random.integers(CUE)] = 0.99
    score = learn_score(found_of(unrelated(random, 30, 2)), found_of(copies), np.zeros(25))
    assert ((score.weights >= 0.5) & (score.weights <= 1)).all()
    assert (score.scales >= 0.1).all()


def test_candidates_that_are_not_the_original_teach_nothing(random):
    cues, copies = unrelated(random), unrelated(random, 40, 2)
    copies[:, 1] = (500, 500, 0.99, 0.99, 0.99)
    wrong = learn_score(found_of(cues), found_of(copies), np.full(40, 7))  # 7 is never a candidate
    assert wrong.learned_from == (100, 0)
    np.testing.assert_array_equal(wrong.weights, 1)
    assert learn_score(found_of(cues), found_of(copies), np.full(40, 1)).learned_from == (100, 40)


def test_learning_is_deterministic(random):
    cues, copies = unrelated(random), unrelated(random, 40)
    first, second = (learn_score(found_of(cues), found_of(copies), np.zeros(40)) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_all_cues_of_volumes_are_similarities(random):
    """No column is taken for a number of keypoints: each counts the same way, with the default score and the learned one."""
    count = len(VOLUMES.names)
    cues = np.full(count, 1 - np.exp(-3))
    default = default_score(count, VOLUMES)
    assert default.counts == 0
    np.testing.assert_allclose(default.standardised(cues), 3 - np.array(VOLUMES.medians), rtol=1e-5)
    others = random.beta(5, 5, (100, 3, count))
    learned = learn_score(found_of(others), found_of(np.full((30, 1, count), 0.98)), np.zeros(30), VOLUMES)
    assert learned.names == VOLUMES.names
    assert learned.learned_from == (100, 30)
    assert learned.counts == 0
    best = (-np.log(1 - others)).max(axis=1)
    np.testing.assert_allclose(learned.medians, np.median(best, axis=0), rtol=1e-5)
    for column in range(count):
        copy = np.full(count, 0.5)
        copy[column] = 0.999
        assert learned.of_cues(copy) > 1.5 * learned.of_cues(others).max()  # any one of them is enough


def test_without_an_encoder_the_score_of_volumes_has_a_cue_less(random):
    count = len(VOLUMES.names) - 1
    others = found_of(random.beta(5, 5, (100, 2, count)))
    score = learn_score(others, found_of(np.full((30, 1, count), 0.98)), np.zeros(30), VOLUMES)
    assert score.names == VOLUME_CUES == default_score(count, VOLUMES).names
    assert score.of(others).shape == (100, 2)
    few = learn_score(others.part(np.arange(5)), found_of(np.zeros((0, 1, count))), np.zeros(0), VOLUMES)
    assert few.learned_from == (0, 0)
    assert few.of_cues(np.zeros(count)) == 0  # pairs that were not registered
    assert few.of_cues(np.ones(count)) > 5
