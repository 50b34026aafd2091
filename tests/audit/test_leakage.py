import numpy as np
import pytest

from deepssim.audit.calibration import Rule
from deepssim.audit.evidence import Best
from deepssim.audit.leakage import find_copies, leakage_figures, subject_table
from deepssim.evaluation.groups import Limit
from deepssim.evaluation.intervals import share_interval

SUBJECTS = ["a", "a", "b", "c"]
SYNTHETIC = [f"s{n}" for n in range(6)]
NONE = np.zeros(6, bool)


@pytest.fixture
def best():
    """Best candidates of six synthetic among four training images."""
    scores = np.array([0.95, 0.93, 0.91, 0.3, 0.2, 0.3])
    cues = np.arange(30, dtype=np.float32).reshape(6, 5)
    return Best(scores, np.array([0, 0, 2, 0, 3, 3]), cues, SYNTHETIC)


def rule(alarms=0, threshold=0.9):
    """Return a rule whose limit this many of 50 subjects exceed, one image each."""
    limit = Limit(threshold, 0.01, 50, alarms, 50, alarms, 50.0)
    return Rule(threshold, limit, np.arange(50) < alarms, share_interval(alarms, 50), "controls", True)


def content(identical=()):
    return list("wxyz"), [("wxyz"[identical[n]] if n in identical else f"s{n}") for n in range(6)]


def test_copies_are_those_above_the_limit_and_identical_ones(best):
    copies = find_copies(best, rule(), *content({5: 3}))
    assert copies.flagged.tolist() == [True, True, True, False, False, True]
    assert copies.identical.tolist() == [False] * 5 + [True]
    assert copies.original.tolist() == [0, 0, 2, 0, 3, 3]
    np.testing.assert_array_equal(copies.scores, best.scores)
    np.testing.assert_array_equal(copies.cues, best.cues)
    assert copies.copied.tolist() == [True, False, True, True]


def test_figures_match_a_hand_calculation(best):
    copies = find_copies(best, rule(), *content())
    found = leakage_figures(copies, NONE, rule(), SUBJECTS, SYNTHETIC, confidence=0.95, repetitions=200, seed=0)
    assert found["flagged_share"].value == 0.5
    assert found["synthetic_that_copy"].value == pytest.approx((0.5 - 0.01) / (1 - 0.01))  # half an alarm in 50
    assert (found["training_copied"].count, found["training_copied"].total) == (2, 4)
    assert (found["subjects_copied"].count, found["subjects_copied"].total) == (2, 3)
    assert found["copies_per_image"]["mean"].value == 1.5
    assert found["copies_per_image"]["histogram"] == {"1": 1, "2": 1, "3 to 5": 0, "6 to 10": 0, "more than 10": 0}
    table = subject_table(copies, list("wxyz"), SUBJECTS)
    assert table["subject"].tolist() == ["a", "b"]
    assert table["copies"].tolist() == [2, 1]
    assert table["best_image"].tolist() == ["w", "y"]


def test_false_alarms_do_not_take_identical_copies_away(best):
    noisy = rule(alarms=45)
    copies = find_copies(best, noisy, *content({5: 3}))
    found = leakage_figures(copies, NONE, noisy, SUBJECTS, SYNTHETIC, confidence=0.95, repetitions=200, seed=0)
    assert found["identical"] == 1
    assert found["synthetic_that_copy"].value == pytest.approx(1 / 6)


def test_none_found_is_not_none(best):
    strict = rule(threshold=0.99)
    copies = find_copies(best, strict, *content())
    found = leakage_figures(copies, NONE, strict, SUBJECTS, SYNTHETIC, confidence=0.95, repetitions=200, seed=0)
    assert found["flagged_share"].high > 0.3
    assert np.isnan(found["copies_per_image"]["mean"].value)
    assert subject_table(copies, list("wxyz"), SUBJECTS).empty


def test_one_volume_has_no_interval_that_ends_at_zero(best):
    """Slices of one generated volume say nothing about others, least of all that no other copies."""
    strict = rule(threshold=0.99)
    copies = find_copies(best, strict, *content())
    found = leakage_figures(copies, NONE, strict, SUBJECTS, ["volume"] * 6, confidence=0.95, repetitions=200, seed=0)
    assert found["synthetic_that_copy"].value == 0
    assert np.isnan(found["synthetic_that_copy"].high)


def test_an_image_without_a_candidate_is_no_copy_unless_it_is_identical():
    nothing = Best(np.full(6, -np.inf), np.full(6, -1), np.zeros((6, 5), np.float32), SYNTHETIC)
    copies = find_copies(nothing, rule(), *content({2: 3}))
    assert copies.flagged.tolist() == copies.identical.tolist() == [False, False, True, False, False, False]
    assert copies.original[2] == 3
    assert copies.copied.tolist() == [False, False, False, True]


def test_confirmed_copies_are_not_taken_for_false_alarms(best):
    noisy = rule(alarms=45)
    copies, confirmed = find_copies(best, noisy, *content()), np.arange(6) < 2
    found = leakage_figures(copies, confirmed, noisy, SUBJECTS, SYNTHETIC, confidence=0.95, repetitions=200, seed=0)
    assert found["synthetic_that_copy"].value == pytest.approx(2 / 6)
    assert found["synthetic_that_copy"].low > 0
