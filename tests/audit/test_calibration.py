import numpy as np
import pytest

from deepssim.audit.calibration import calibrated_rule, conformal_threshold, cross_alarms, published_rule, share_with
from deepssim.audit.retrieval import Neighbours
from deepssim.similarity.topk import TopK

SHARE = share_with(confidence=0.95, repetitions=200, seed=0)


def lists(scores):
    scores = np.atleast_2d(np.asarray(scores, np.float32))
    return TopK(scores, np.tile(np.arange(scores.shape[1]), (len(scores), 1)))


def test_the_threshold_is_the_conformal_quantile():
    assert conformal_threshold(np.arange(99) / 100, 0.05) == (0.94, 0.05)  # the 95th of 99
    assert conformal_threshold(np.arange(9) / 10, 0.05) == (0.8, 0.1)  # nine images can promise one in ten
    assert conformal_threshold(np.array([0.3]), 0.01) == (pytest.approx(0.3), 0.5)
    with pytest.raises(ValueError, match="at least one held-out image"):
        conformal_threshold(np.zeros(0), 0.1)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_false_alarms_stay_within_the_promise(random, rate):
    """Of new images, on average over many holdouts, no more are flagged than stated."""
    alarms = []
    for _ in range(400):
        threshold, promised = conformal_threshold(random.normal(size=150), rate)
        alarms.append((random.normal(size=200) > threshold).mean())
    assert promised == rate
    exact = 1 - np.ceil(151 * (1 - rate)) / 151  # the largest share at most `rate` that 150 images can give
    assert np.mean(alarms) == pytest.approx(exact, rel=0.15)
    assert exact <= rate


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
    rule = calibrated_rule(neighbours, [f"p{n}" for n in range(100)], rate=0.05, share_of=SHARE, seed=0)
    assert rule.threshold == pytest.approx(maxima[95, 0])
    assert rule.flags(np.array([0.95, 0.5]), np.array([9.0, 0.1])).tolist() == [True, False]
    assert rule.alarm_rate.total == 100
    assert rule.alarm_rate.value == pytest.approx(0.05, abs=0.03)


def test_without_a_holdout_score_and_neighbourhood_decide():
    others = lists([[0.9, 0.1, 0.1], [0.9, 0.88, 0.87], [0.8, 0.1, 0.1]])
    neighbours = Neighbours(lists([[0.9]]), lists([[0.9]]), others, None, None, None)
    rule = published_rule(neighbours, ["a", "b", "c"], share_of=SHARE)
    assert (rule.threshold, rule.promised_rate) == (0.85, None)
    assert rule.alarms.tolist() == [True, False, False]  # the second is near to everything
    flags = rule.flags(np.array([0.9, 0.9, 0.8, 0.9]), np.array([0.5, 1.2, 0.1, np.nan]))
    assert flags.tolist() == [True, False, False, True]


def test_one_subject_has_no_controls():
    neighbours = Neighbours(lists([[0.9]]), lists([[0.9]]), lists(np.zeros((1, 0))), None, None, None)
    rule = published_rule(neighbours, ["a"], share_of=SHARE)
    assert rule.controls == "none: there is one subject"
    assert rule.alarm_rate.total == 0
