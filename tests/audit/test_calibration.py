import numpy as np
import pytest

from deepssim.audit.calibration import HELD_OUT, NOTHING, OTHER_SUBJECTS, calibrated_rule, cross_alarms
from deepssim.audit.evidence import Best


def best(scores, subjects=None):
    scores = np.asarray(scores, np.float64)
    subjects = [f"p{n}" for n in range(len(scores))] if subjects is None else subjects
    return Best(scores, np.zeros(len(scores), np.int64), np.zeros((len(scores), 5), np.float32), subjects)


def rule_of(controls, rate, *, held_out=True):
    return calibrated_rule(controls, held_out=held_out, rate=rate, confidence=0.95, seed=0)


def test_alarms_are_judged_without_their_own_subject(random):
    maxima, subjects = random.normal(size=400), [f"p{n // 4}" for n in range(400)]
    assert cross_alarms(maxima, subjects, 0.1, 0).mean() == pytest.approx(0.1, abs=0.04)
    one = np.full(40, 0.1)
    one[:4] = 0.9  # one patient who looks like a training patient
    assert cross_alarms(one, [f"p{n // 4}" for n in range(40)], 0.05, 0).tolist() == [True] * 4 + [False] * 36
    assert not cross_alarms(one, ["p"] * 40, 0.05, 0).any()


@pytest.mark.parametrize(("held_out", "controls"), [(True, HELD_OUT), (False, OTHER_SUBJECTS)])
def test_the_score_decides_with_and_without_a_holdout(held_out, controls):
    scores = np.linspace(0, 0.9, 100)
    rule = rule_of(best(scores), 0.05, held_out=held_out)
    assert rule.threshold == pytest.approx(scores[95])
    assert rule.flags(np.array([0.95, 0.5, -np.inf, scores[95]])).tolist() == [True, False, False, False]
    assert (rule.controls, rule.held_out, rule.promised_rate) == (controls, held_out, 0.05)
    assert rule.alarm_rate.total == 100
    assert rule.alarm_rate.value == pytest.approx(0.05, abs=0.03)
    assert rule.false_alarms is not None


def test_every_subject_counts_once_however_many_images_there_are():
    alike = best([*np.linspace(0, 0.9, 99), *[2.0] * 400], [*(f"p{n}" for n in range(99)), *["many"] * 400])
    assert rule_of(alike, 0.05).threshold < 1
    assert rule_of(alike, 0.05).limit.groups == 100


def test_images_without_a_candidate_set_no_limit():
    """A training image of the only other subject has nothing to be compared with."""
    some = rule_of(best([0.1, 0.2, -np.inf], ["a", "b", "c"]), 0.01)
    assert (some.limit.groups, len(some.alarms)) == (2, 2)
    assert some.threshold == 0.2
    assert some.promised_rate == pytest.approx(1 / 3)


def test_without_other_subjects_no_score_is_a_copy():
    for nothing in (best([]), best([-np.inf, -np.inf])):
        rule = rule_of(nothing, 0.01, held_out=False)
        assert (rule.controls, rule.limit, rule.promised_rate, rule.false_alarms) == (NOTHING, None, None, None)
        assert rule.alarm_rate.total == 0
        assert not rule.flags(np.array([1e9])).any()
