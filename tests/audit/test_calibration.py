import numpy as np
import pytest

from deepssim.audit.calibration import calibrated_rule, cross_alarms, published_rule
from deepssim.audit.retrieval import Neighbours
from deepssim.similarity.topk import TopK


def lists(scores):
    scores = np.atleast_2d(np.asarray(scores, np.float32))
    return TopK(scores, np.tile(np.arange(scores.shape[1]), (len(scores), 1)))


def test_alarms_are_judged_without_their_own_subject(random):
    maxima, subjects = random.normal(size=400), [f"p{n // 4}" for n in range(400)]
    assert cross_alarms(maxima, subjects, 0.1, 0).mean() == pytest.approx(0.1, abs=0.04)
    one = np.full(40, 0.1)
    one[:4] = 0.9  # one patient who looks like a training patient
    assert cross_alarms(one, [f"p{n // 4}" for n in range(40)], 0.05, 0).tolist() == [True] * 4 + [False] * 36
    assert not cross_alarms(one, ["p"] * 40, 0.05, 0).any()


def test_with_a_holdout_the_score_decides():
    maxima = np.linspace(0, 0.9, 100)[:, None]
    neighbours = Neighbours(lists([[0.95], [0.5]]), lists([[0.1]]), lists(np.zeros((1, 0))), lists(maxima), None, None)
    rule = calibrated_rule(neighbours, [f"p{n}" for n in range(100)], rate=0.05, confidence=0.95, seed=0)
    assert rule.threshold == pytest.approx(maxima[95, 0])
    assert rule.flags(np.array([0.95, 0.5]), np.array([9.0, 0.1])).tolist() == [True, False]
    assert rule.alarm_rate.total == 100
    assert rule.alarm_rate.value == pytest.approx(0.05, abs=0.03)


def test_without_a_holdout_score_and_neighbourhood_decide():
    others = lists([[0.9, 0.1, 0.1], [0.9, 0.88, 0.87], [0.8, 0.1, 0.1]])
    neighbours = Neighbours(lists([[0.9]]), lists([[0.9]]), others, None, None, None)
    rule = published_rule(neighbours, ["a", "b", "c"], confidence=0.95)
    assert (rule.threshold, rule.promised_rate) == (0.85, None)
    assert rule.alarms.tolist() == [True, False, False]  # the second is near to everything
    flags = rule.flags(np.array([0.9, 0.9, 0.8, 0.9]), np.array([0.5, 1.2, 0.1, np.nan]))
    assert flags.tolist() == [True, False, False, True]


def test_one_subject_has_no_controls():
    neighbours = Neighbours(lists([[0.9]]), lists([[0.9]]), lists(np.zeros((1, 0))), None, None, None)
    rule = published_rule(neighbours, ["a"], confidence=0.95)
    assert rule.controls == "none: there is one subject"
    assert rule.alarm_rate.total == 0
