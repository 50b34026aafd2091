"""What the synthetic images as a whole say about who was in the training set.

Membership inference, the share of synthetic images nearer to training than to held-out images, a test for data copying,
and nearest-neighbour ratios. All need a holdout.

Not here: single copies (leakage.py).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepssim.audit.retrieval import distances
from deepssim.evaluation.intervals import Interval, bootstrap_weights, widened_percentiles
from deepssim.evaluation.jackknife import jackknife_interval, leave_one_out
from deepssim.evaluation.ranking import ranking_samples

_LEAST_ALARMS = 5  # that a false-positive rate must allow among the held-out subjects; fewer put the limit anywhere
_TOGETHER = 2**14  # embeddings that are placed together, a multiple of those that scikit-learn multiplies
_LEAST_IN_CELL = 10  # held-out and synthetic images that a cell needs for its own test


def membership_inference(
    train: np.ndarray,
    holdout: np.ndarray,
    subjects: Sequence[str],
    *,
    confidence: float,
    repetitions: int,
    seed: int,
    most_false: float = 0.01,
) -> dict[str, Any]:
    """Say how well an attacker who has only the synthetic images tells training images from held-out ones.

    Args:
        train, holdout: each image's best score with a synthetic image, floating point (T,) and (H,).
        subjects: of all T + H images.
        confidence, repetitions, seed: of the intervals by subject.
        most_false: false-positive rate at which the true-positive rate is given.

    Returns:
        AUROC (0.5: cannot tell) and the true-positive rate at `most_false`, each with its interval; no interval of the
        AUROC below five subjects on a side, and no true-positive rate where the held-out subjects allow fewer than five
        false positives.

    Source: Carlini et al. 2022, arXiv:2112.03570, for the rate at few false positives.
    """
    scores = np.concatenate([train, holdout]).astype(np.float64)
    members = np.arange(len(scores)) < len(train)
    people = [len(set(side)) for side in (subjects[: len(train)], subjects[len(train) :])]
    left_out = leave_one_out(subjects, seed)
    weights = np.vstack([np.ones(len(scores), left_out.dtype), left_out])
    curves = ranking_samples(scores, members, weights, max_fpr=most_false)
    auroc, tpr = (
        jackknife_interval(float(curves[name][0]), curves[name][1:], min(people), confidence)
        for name in ("auroc", "tpr")
    )
    nan, least = float("nan"), round(_LEAST_ALARMS / most_false)
    if people[1] < least:
        tpr = Interval(nan, nan, nan, f"needs {least:,} held-out subjects, there are {people[1]:,}")
    elif np.isfinite(tpr.low):  # depends on a few held-out images, to which the jackknife alone is too blind
        drawn = bootstrap_weights(subjects, repetitions, seed, "membership")
        samples = ranking_samples(scores, members, drawn, max_fpr=most_false)["tpr"]
        low, high = widened_percentiles(samples, sum(people), min(people), confidence)
        tpr = Interval(tpr.value, min(tpr.low, low), max(tpr.high, high), tpr.method)
    return {"auroc": auroc, "tpr_at_fpr": tpr, "fpr": most_false}


def closest_record_share(
    to_train: np.ndarray, to_holdout: np.ndarray, train_images: int, holdout_images: int
) -> dict[str, Any]:
    """Return the share of synthetic images that are nearer to a training than to any held-out image.

    Without copying the nearest of all real images is a training image as often as real images are training images, so
    that is what the rate compares with. Equal scores count half. There is no interval: both sets of real images are
    samples themselves, and an interval from the synthetic images alone would be far too narrow.

    Args:
        to_train, to_holdout: each synthetic image's best score on both sides, floating point (S,).
        train_images, holdout_images: how many there are to be nearest to.

    Source: Platzer and Reutterer 2021, arXiv:2104.00635.
    """
    nearer = int((to_train > to_holdout).sum())
    ties = int((to_train == to_holdout).sum())
    nan = float("nan")
    rate = (nearer + ties / 2) / len(to_train)
    share = Interval(rate, nan, nan, "both sets of real images are samples", nearer, len(to_train))
    return {"share": share, "expected": train_images / (train_images + holdout_images)}


def data_copying(
    synthetic: np.ndarray, holdout: np.ndarray, synthetic_cells: np.ndarray, holdout_cells: np.ndarray
) -> dict[str, Any]:
    """Test whether synthetic images are nearer to the training images than held-out images are.

    Args:
        synthetic, holdout: each image's best score with a training image, floating point (S,) and (H,).
        synthetic_cells, holdout_cells: region of each image; regions are tested apart and averaged by their share of
            held-out images, so that copies in one region are not made up for by distance in another.

    Returns:
        `z`, the averaged statistic: below -3 data copying, above 3 images further away than real ones (underfitting);
        None where no cell has ten images of both kinds. `cells`, how many were tested.

    Source: Meehan et al. 2020, arXiv:2004.05675.
    """
    statistics, sizes = [], []
    for cell in np.unique(np.concatenate([synthetic_cells, holdout_cells])):
        first, second = synthetic[synthetic_cells == cell], holdout[holdout_cells == cell]
        if min(len(first), len(second)) >= _LEAST_IN_CELL:
            statistics.append(_mann_whitney_z(distances(first), distances(second)))
            sizes.append(len(second))
    z = float(np.average(statistics, weights=sizes)) if statistics else None
    return {"z": z, "cells": len(statistics)}


def _mann_whitney_z(first: np.ndarray, second: np.ndarray) -> float:
    """Return the z-score of the Mann-Whitney statistic; negative where the first values are smaller."""
    from scipy.stats import rankdata

    n, m = len(first), len(second)
    ranks = rankdata(np.concatenate([first, second]))
    _, ties = np.unique(ranks, return_counts=True)
    statistic = ranks[:n].sum() - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * (total + 1 - (ties.astype(np.float64) ** 3 - ties).sum() / (total * (total - 1)))
    return float((statistic - n * m / 2) / np.sqrt(variance)) if variance > 0 else 0.0


def cells_of(train: np.ndarray, *others: np.ndarray, seed: int) -> list[np.ndarray]:
    """Divide the space of embeddings into regions around the training images.

    Args:
        train: embeddings, float32 (T, D).
        others: embeddings to place.
        seed: of k-means.

    Returns:
        For each of the others the region of each image. There are about T / 40 regions, at most ten.
    """
    from sklearn.cluster import KMeans

    def directions(values: np.ndarray) -> np.ndarray:
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    count = int(np.clip(len(train) // 40, 1, 10))
    model = KMeans(count, n_init=3, random_state=seed % 2**32).fit(directions(train))
    return [
        np.concatenate(
            [model.predict(directions(values[start : start + _TOGETHER])) for start in range(0, len(values), _TOGETHER)]
        )
        for values in others
    ]


def nearest_two(synthetic: np.ndarray, holdout: np.ndarray) -> dict[str, Any]:
    """Summarise nearest-neighbour ratios: copies have a small one, since nothing else is as near as the original.

    Args:
        synthetic, holdout: ratios from `retrieval.nearest_two_ratios`, float64 (S,) and (H,); NaN is left out.
    """

    def summary(ratios: np.ndarray) -> dict[str, float | None]:
        known = ratios[np.isfinite(ratios)]
        if not known.size:
            return {"median": None, "lowest_5_percent": None}
        return {"median": float(np.median(known)), "lowest_5_percent": float(np.percentile(known, 5))}

    return {"synthetic": summary(synthetic), "holdout": summary(holdout)}
