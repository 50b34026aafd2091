"""Agreement of a metric's classes with the true ones, and the copy rates it finds.

Not here: labels and thresholds (ground_truth/labels.py), intervals (labelled_pairs.py), plots (reporting/).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepssim.evaluation.groups import rate_by_group
from deepssim.evaluation.silhouette import silhouette
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label, Thresholds
from deepssim.images.keys import REAL_NAME, SEPARATOR
from deepssim.similarity.scores import Scores

NAMES = {label: label.name.lower() for label in Label}


def classification_report(scores: np.ndarray, labels: np.ndarray, thresholds: Thresholds) -> dict[str, Any]:
    """Compare predicted classes, by thresholds on the scores, with the true ones.

    Args:
        scores: float64 (N,).
        labels: int (N,), codes of `Label`.
        thresholds: thresholds of the metric.

    Returns:
        Macro and weighted F1, precision, recall and F1 of each class, confusion matrix (rows true, columns predicted, in
        the order of `classes`), counts, and the silhouette of the true classes along the score.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    codes = [int(label) for label in Label]
    predicted = thresholds.classify(scores)
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=codes, zero_division=0)
    present = support > 0  # F1 is undefined for classes that the test set lacks
    groups = len(np.unique(labels))
    return {
        "pairs": len(labels),
        "classes": [NAMES[label] for label in Label],
        "macro_f1": float(f1[present].mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
        "per_class": {
            NAMES[label]: {
                "precision": float(precision[row]),
                "recall": float(recall[row]),
                "f1": float(f1[row]),
                "pairs": int(support[row]),
                "predicted": int((predicted == label).sum()),
            }
            for row, label in enumerate(Label)
        },
        "confusion": confusion_matrix(labels, predicted, labels=codes).tolist(),
        "silhouette": silhouette(scores, labels) if 1 < groups < len(labels) else None,
        "thresholds": {"different_up_to": thresholds.low, "duplicate_above": thresholds.high},
    }


def copy_rates(
    matrix: Scores, train_keys: list[str], thresholds: Thresholds, subject_of: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Count copies of training images among synthetic ones.

    Args:
        matrix: scores of one metric.
        train_keys: images that the generator was trained on; other rows are ignored.
        thresholds: thresholds of the metric; a score above the higher one is a copy.
        subject_of: subject of each real image by key; every record is its own without it.

    Returns:
        See `_rates`.

    Source: N_copies and N_mem of Dar et al., arXiv:2402.01054.
    """
    copied, copying = _copies(matrix, train_keys, thresholds)
    return _rates(copying, copied, matrix.synth_keys, train_keys, subject_of)


def registered_copy_rates(
    ssim: Scores, train_keys: list[str], verified: pd.DataFrame, subject_of: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Count copies by SSIM, of images as they are or after registration.

    Args:
        ssim: SSIM of images as they are.
        train_keys: images that the generator was trained on.
        verified: table of `verification.verified_pairs`.
        subject_of: see `copy_rates`.

    Returns:
        As `copy_rates`; no count is lower than there.
    """
    copied, copying = _copies(ssim, train_keys, SSIM_THRESHOLDS)
    found = verified[verified["registered_ssim"] > SSIM_THRESHOLDS.high]
    copying |= np.isin(ssim.synth_keys, found["synth_key"].to_numpy(str))
    copied |= np.isin(train_keys, found["real_key"].to_numpy(str))
    return _rates(copying, copied, ssim.synth_keys, train_keys, subject_of)


def _copies(matrix: Scores, train_keys: list[str], thresholds: Thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Return which training images are copied and which synthetic images copy, bool (T,) and (S,)."""
    copied, copying = (best.scores[:, 0].astype(np.float64) > thresholds.high for best in matrix.best(train_keys))
    return copied, copying


def _rates(
    copying: np.ndarray,
    copied: np.ndarray,
    synth_keys: list[str],
    train_keys: list[str],
    subject_of: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return the rates of copies.

    Returns:
        Fraction of synthetic images that copy a training image, fraction of training images copied, and the counts; and
        `synthetic_interval` and `training_interval`, 95 % by subject. Synthetic images belong to their record's subject.
    """
    named = subject_of or {}
    records = [key.rpartition(SEPARATOR)[0] or key for key in synth_keys]
    synthetic_subjects = [named.get(f"{record}{SEPARATOR}{REAL_NAME}", record) for record in records]
    return {
        "synthetic_images": int(copying.size),
        "training_images": int(copied.size),
        "synthetic_copies": int(copying.sum()),
        "training_copied": int(copied.sum()),
        "share_of_synthetic_that_copy": float(copying.mean()),
        "share_of_training_copied": float(copied.mean()),
        "synthetic_interval": rate_by_group(copying, synthetic_subjects),
        "training_interval": rate_by_group(copied, [named.get(key, key) for key in train_keys]),
    }


def evaluate(
    matrix: Scores,
    test_set: pd.DataFrame,
    train_keys: list[str],
    thresholds: Thresholds,
    subject_of: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate one metric on the labelled test pairs and count the copies it finds among all pairs.

    Args:
        matrix: scores of the metric, on aligned or misaligned images; must include the test pairs.
        test_set: columns `real_key`, `synth_key`, `ssim`, `label`.
        train_keys: images that the generator was trained on.
        thresholds: thresholds of the metric.
        subject_of: subject of each real image by key, for intervals of the copy rates.

    Raises:
        DataError: if a pair is not in the matrix.
    """
    scores = matrix.pair_scores(test_set["real_key"].tolist(), test_set["synth_key"].tolist())
    report = classification_report(scores, test_set["label"].to_numpy(dtype=np.int64), thresholds)
    report["mean_absolute_difference_to_ssim"] = float(np.abs(scores - test_set["ssim"].to_numpy()).mean())
    return {"metric": matrix.metric, **report, "copies": copy_rates(matrix, train_keys, thresholds, subject_of)}
