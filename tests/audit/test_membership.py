import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from deepssim.audit.membership import (
    _mann_whitney_z,
    cells_of,
    closest_record_share,
    data_copying,
    membership_inference,
    nearest_two,
)

OPTIONS = {"confidence": 0.95, "repetitions": 300, "seed": 0}


def test_membership_agrees_with_scikit_learn(random):
    train, holdout = random.normal(0.5, 1, 200), random.normal(0, 1, 1200)
    found = membership_inference(train, holdout, [str(n // 2) for n in range(1400)], **OPTIONS)
    labels, scores = np.repeat([1, 0], [200, 1200]), np.concatenate([train, holdout])
    assert found["auroc"].value == pytest.approx(roc_auc_score(labels, scores))
    assert found["auroc"].low < found["auroc"].value < found["auroc"].high
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert found["tpr_at_fpr"].value == pytest.approx(tpr[fpr <= 0.01].max())


def test_few_held_out_subjects_support_no_rate_and_fewer_no_interval(random):
    train, holdout = random.normal(0.5, 1, 200), random.normal(0, 1, 400)
    found = membership_inference(train, holdout, [str(n) for n in range(600)], **OPTIONS)
    assert np.isnan(found["tpr_at_fpr"].value)
    assert found["tpr_at_fpr"].method == "needs 500 held-out subjects, there are 400"
    assert np.isfinite(found["auroc"].low)
    few = membership_inference(train, holdout, [str(n // 100) for n in range(600)], **OPTIONS)
    assert np.isnan(few["auroc"].low)
    assert few["auroc"].value == found["auroc"].value


def test_no_signal_is_half(random):
    found = membership_inference(
        random.normal(size=300), random.normal(size=300), [str(n) for n in range(600)], **OPTIONS
    )
    assert found["auroc"].low < 0.5 < found["auroc"].high


def test_the_closest_record_is_compared_with_the_share_of_records():
    found = closest_record_share(np.array([0.9, 0.8, 0.5, 0.5]), np.array([0.1, 0.9, 0.5, 0.5]), 30, 10)
    assert (found["share"].value, found["expected"]) == (0.5, 0.75)  # one nearer and half of two ties
    assert np.isnan(found["share"].low)  # both sets of real images are samples


def test_data_copying_agrees_with_scipy_and_sees_copies(random):
    from scipy.stats import mannwhitneyu, norm

    real, copies = random.uniform(0, 0.8, 200), random.uniform(0.3, 1.0, 300)
    z = _mann_whitney_z(copies, real)
    expected = mannwhitneyu(copies, real, alternative="less", method="asymptotic", use_continuity=False)
    assert norm.cdf(z) == pytest.approx(expected.pvalue, rel=1e-6)
    cells = random.integers(0, 2, 300), random.integers(0, 2, 200)
    found = data_copying(copies, real, *cells)
    assert found["cells"] == 2
    assert found["z"] < -3
    assert abs(data_copying(real[:100], real[100:], cells[0][:100], cells[1][100:])["z"]) < 3


def test_cells_with_few_images_are_left_out(random):
    found = data_copying(random.random(50), random.random(12), np.zeros(50, int), np.arange(12))
    assert found == {"z": None, "cells": 0}
    assert _mann_whitney_z(np.ones(12), np.ones(12)) == 0


def test_cells_follow_directions(random):
    train = np.repeat(np.eye(3), 40, axis=0) + random.normal(0, 0.01, (120, 3))
    first, second = cells_of(train, train[:3] * 7, train[[0, 40, 80]], seed=0)
    assert len(set(first)) == 1
    assert len(set(second)) == 3


def test_ratios_are_summarised_without_the_unknown():
    found = nearest_two(np.array([0.5, np.nan, 0.7]), np.array([np.nan]))
    assert found["synthetic"]["median"] == pytest.approx(0.6)
    assert found["holdout"]["median"] is None


def test_cells_do_not_depend_on_how_many_embeddings_are_placed_together(random, monkeypatch):
    train, others = random.normal(size=(200, 12)).astype(np.float32), random.normal(size=(1000, 12)).astype(np.float32)
    whole = cells_of(train, others, seed=0)[0]
    assert len(set(whole)) == 5
    monkeypatch.setattr("deepssim.audit.membership._TOGETHER", 256)
    np.testing.assert_array_equal(cells_of(train, others, seed=0)[0], whole)
