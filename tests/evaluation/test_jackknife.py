"""Intervals by jackknife: against known formulas, and their coverage where bootstrap percentiles fail."""

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from deepssim.evaluation.jackknife import Scale, difference_interval, jackknife_interval, leave_one_out
from deepssim.evaluation.labelled_pairs import Sampling, compare_metrics, evaluate_labelled, macro_f1
from deepssim.evaluation.ranking import ranking_samples
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Thresholds


def test_one_subject_is_left_out_in_turn():
    weights = leave_one_out(["a", "b", "a", "c"])
    np.testing.assert_array_equal(weights, [[0, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 0]])
    many = leave_one_out([str(row % 1200) for row in range(2400)], seed=1)
    assert many.shape == (500, 2400)
    assert ((1 - many).sum(axis=0) == 1).all()
    np.testing.assert_array_equal(many[:, :1200], many[:, 1200:])  # subjects stay together


def test_a_mean_has_the_interval_of_students_t(random):
    """Far from the ends the logit is nearly linear; the error here is that of n instead of n - 1 left-out means."""
    values = 0.5 + random.normal(0, 0.01, 40)
    left_out = (values.sum() - values) / 39
    found = jackknife_interval(values.mean(), left_out, 40)
    low, high = ttest_1samp(values, 0.5).confidence_interval()
    factor = (found.high - found.low) / (high - low)
    assert factor == pytest.approx(np.sqrt(40 / 39), abs=0.02)
    assert jackknife_interval(values.mean(), left_out, 6).high > found.high  # t of 5 degrees of freedom


def test_there_is_no_interval_without_width():
    same = np.full(30, 0.4)
    for value in (0.0, 0.4, 1.0):
        found = jackknife_interval(value, np.full(30, value), 12)
        assert found.low < value or value == 0
        assert found.high > value or value == 1
        assert found.method == "rule of three over subjects"
        assert 0 <= found.low < found.high <= 1
    assert jackknife_interval(1.0, np.ones(30), 12).low == pytest.approx(0.05 ** (1 / 12))
    for few in (jackknife_interval(0.4, same + 0.01, 4), jackknife_interval(0.4, np.full(3, np.nan), 30)):
        assert np.isnan(few.low)
        assert "fewer than 5 subjects" in few.method
    alike = jackknife_interval(2.0, np.full(30, 2.0), 30, scale=Scale.LOG)
    assert np.isnan(alike.low)


def test_a_difference_is_narrower_where_errors_are_shared(random):
    first = 0.8 + random.normal(0, 0.01, 30)
    intervals = [jackknife_interval(0.8, first, 30), jackknife_interval(0.7, first - 0.1, 30)]
    shared = difference_interval(*intervals, first, first - 0.1)
    apart = difference_interval(*intervals, first, random.permutation(first - 0.1))
    assert shared.value == apart.value == pytest.approx(0.1)
    assert shared.high - shared.low < 0.7 * (apart.high - apart.low)
    none = difference_interval(intervals[0], jackknife_interval(0.7, first, 3), first, first)
    assert np.isnan(none.low)
    assert none.method == "fewer than 5 subjects in a class"
    assert np.isnan(difference_interval(intervals[0], intervals[0], first, first).low)


def labelled(random, subjects, images, correlation):
    """Return scores of two metrics and labels: a third of the pairs in each class."""

    def values():
        shared, own = random.normal(size=(subjects, 1)), random.normal(size=(subjects, images))
        return (np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own).ravel()

    latent = values()
    labels = np.select([latent < norm.ppf(1 / 3), latent > norm.ppf(2 / 3)], [0, 1], 2)
    return latent + 0.4 * values(), latent + 0.8 * values(), labels


def population(scores, labels, thresholds):
    """Return the statistics of so many pairs that they stand for the truth."""
    weights = np.ones((1, len(labels)), np.uint8)
    return {
        "macro_f1": macro_f1(labels, thresholds.classify(scores), weights)[0],
        "auroc": ranking_samples(scores, labels == 1, weights)["auroc"][0],
    }


@pytest.mark.parametrize("design", [(8, 40, 0.5), (20, 10, 0.9), (30, 10, 0.5)])
def test_statistics_of_few_subjects_cover(random, design):
    """A percentile bootstrap covers 79 to 90 % here."""
    thresholds = Thresholds(*norm.ppf([1 / 3, 2 / 3]))
    sampling = Sampling(repetitions=20)  # they do not enter the statistics below
    many = labelled(random, 400_000, 1, 0.0)
    truth, other = (population(scores, many[2], thresholds) for scores in many[:2])
    names = [f"p{row // design[1]}" for row in range(design[0] * design[1])]
    covered, printed = np.zeros(4), np.zeros(4)
    for _ in range(60):
        first, second, labels = labelled(random, *design)
        found = evaluate_labelled(first, labels, names, thresholds, sampling)
        (compared,) = compare_metrics(
            {"a": first, "b": second}, {"a": thresholds, "b": thresholds}, labels, names, sampling
        )
        expected = [(found[name], truth[name]) for name in ("macro_f1", "auroc")]
        expected += [(compared[f"{name}_difference"], truth[name] - other[name]) for name in ("macro_f1", "auroc")]
        for place, (interval, value) in enumerate(expected):
            if np.isfinite(interval.low):
                printed[place] += 1
                covered[place] += interval.low <= value <= interval.high
    assert printed.min() > 40
    assert (covered >= 0.93 * printed - 2 * np.sqrt(0.07 * 0.93 * printed)).all(), covered / printed


def test_pairs_at_the_recall_need_enough_duplicates(random):
    scores, _, labels = labelled(random, 30, 20, 0.5)
    names = [f"p{row // 20}" for row in range(600)]
    found = evaluate_labelled(scores, labels, names, SSIM_THRESHOLDS, Sampling(repetitions=200))
    for name in ("precision_at_recall", "fpr_at_recall"):
        assert found[name].low < found[name].value < found[name].high
    few = np.isin(np.arange(600), np.flatnonzero(labels == 1)[60:], invert=True)
    found = evaluate_labelled(
        scores[few],
        labels[few],
        [name for name, one in zip(names, few, strict=True) if one],
        SSIM_THRESHOLDS,
        Sampling(),
    )
    assert np.isnan(found["fpr_at_recall"].low)
    assert found["fpr_at_recall"].method == "needs 100 duplicates, there are 60"
