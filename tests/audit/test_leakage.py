import numpy as np
import pytest

from deepssim.audit.calibration import Rule
from deepssim.audit.leakage import find_copies, leakage_figures, subject_table
from deepssim.audit.retrieval import Neighbours
from deepssim.evaluation.intervals import share_interval
from deepssim.similarity.topk import TopK

SUBJECTS = ["a", "a", "b", "c"]
SYNTHETIC = [f"s{n}" for n in range(6)]
NONE = np.zeros(6, bool)


@pytest.fixture
def neighbours():
    """Six synthetic and four training images; scores of all pairs are known."""
    scores = np.array([
        [0.95, 0.1, 0.1, 0.1],
        [0.93, 0.2, 0.1, 0.1],
        [0.1, 0.1, 0.91, 0.1],
        [0.3, 0.2, 0.1, 0.1],
        [0.1, 0.1, 0.1, 0.2],
        [0.1, 0.1, 0.1, 0.3],
    ], np.float32)  # fmt: skip

    def best(values):
        order = np.argsort(-values, axis=1, kind="stable")
        return TopK(np.take_along_axis(values, order, axis=1), order)

    return Neighbours(
        best(scores), best(scores.T), TopK(np.zeros((4, 0), np.float32), np.zeros((4, 0), int)), *[None] * 3
    )


def rule(alarms=(False,) * 50, ratio=None):
    alarms = np.array(alarms)
    return Rule(0.9, ratio, None, alarms, share_interval(int(alarms.sum()), len(alarms)), "controls")


def content(identical=()):
    return list("wxyz"), [("wxyz"[identical[n]] if n in identical else f"s{n}") for n in range(6)]


def test_copies_are_those_above_the_limit_and_identical_ones(neighbours):
    copies = find_copies(neighbours, rule(), SUBJECTS, *content({5: 3}))
    assert copies.flagged.tolist() == [True, True, True, False, False, True]
    assert copies.identical.tolist() == [False] * 5 + [True]
    assert copies.original.tolist() == [0, 0, 2, 0, 3, 3]
    assert copies.scores[5] == 1
    assert copies.copied.tolist() == [True, False, True, True]


def test_figures_match_a_hand_calculation(neighbours):
    copies = find_copies(neighbours, rule(), SUBJECTS, *content())
    found = leakage_figures(copies, NONE, rule(), SUBJECTS, SYNTHETIC, confidence=0.95, repetitions=200, seed=0)
    assert found["flagged_share"].value == found["synthetic_that_copy"].value == 0.5
    assert (found["training_copied"].count, found["training_copied"].total) == (2, 4)
    assert (found["subjects_copied"].count, found["subjects_copied"].total) == (2, 3)
    assert found["copies_per_image"]["mean"].value == 1.5
    assert found["copies_per_image"]["histogram"] == {"1": 1, "2": 1, "3 to 5": 0, "6 to 10": 0, "more than 10": 0}
    table = subject_table(copies, list("wxyz"), SUBJECTS)
    assert table["subject"].tolist() == ["a", "b"]
    assert table["copies"].tolist() == [2, 1]
    assert table["best_image"].tolist() == ["w", "y"]


def test_false_alarms_do_not_take_identical_copies_away(neighbours):
    noisy = rule(alarms=[True] * 45 + [False] * 5)
    copies = find_copies(neighbours, noisy, SUBJECTS, *content({5: 3}))
    found = leakage_figures(copies, NONE, noisy, SUBJECTS, SYNTHETIC, confidence=0.95, repetitions=200, seed=0)
    assert found["identical"] == 1
    assert found["synthetic_that_copy"].value == pytest.approx(1 / 6)


def test_none_found_is_not_none(neighbours):
    strict = Rule(0.99, None, None, np.zeros(50, bool), share_interval(0, 50), "controls")
    copies = find_copies(neighbours, strict, SUBJECTS, *content())
    found = leakage_figures(copies, NONE, strict, SUBJECTS, SYNTHETIC, confidence=0.95, repetitions=200, seed=0)
    assert found["flagged_share"].high > 0.3
    assert np.isnan(found["copies_per_image"]["mean"].value)
    assert subject_table(copies, list("wxyz"), SUBJECTS).empty


def test_one_volume_has_no_interval_that_ends_at_zero(neighbours):
    """Slices of one generated volume say nothing about others, least of all that no other copies."""
    strict = Rule(0.99, None, None, np.zeros(50, bool), share_interval(0, 50), "controls")
    copies = find_copies(neighbours, strict, SUBJECTS, *content())
    found = leakage_figures(copies, NONE, strict, SUBJECTS, ["volume"] * 6, confidence=0.95, repetitions=200, seed=0)
    assert found["synthetic_that_copy"].value == 0
    assert np.isnan(found["synthetic_that_copy"].high)


def test_in_a_crowd_nothing_is_a_copy(neighbours):
    crowd = TopK(np.full((6, 4), 0.95, np.float32), neighbours.synthetic.partners)
    crowded = Neighbours(crowd, *[getattr(neighbours, name) for name in ("train", "train_others")], *[None] * 3)
    assert not find_copies(crowded, rule(ratio=1.0), SUBJECTS, *content()).flagged.any()
