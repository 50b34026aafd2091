"""Agreement of a metric's classes with the true ones, and the copy rates it finds.

Not here: labels and thresholds (ground_truth/labels.py), intervals (labelled_pairs.py), plots (reporting/).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepssim.evaluation.fitting import SourcedThresholds
from deepssim.evaluation.groups import GroupCounts, rate_by_group, rate_of_groups
from deepssim.evaluation.silhouette import silhouette
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label, Thresholds, absent_classes, class_names
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


def pair_results(scores: np.ndarray, labels: np.ndarray, ssim: np.ndarray, used: SourcedThresholds) -> dict[str, Any]:
    """Return `classification_report` with null for each result that is undefined, and why it is.

    Args:
        scores: float64 (N,); N may be 0.
        labels: int (N,), codes of `Label`; classes may be absent.
        ssim: of the same pairs, float (N,).
        used: thresholds, which may be unknown.

    Returns:
        As `classification_report`, with the mean absolute difference of scores and SSIM, and `undefined`: reasons by name of the
        result. F1 over fewer than all classes is another quantity, so F1 of all classes is undefined if one is absent.
    """
    absent = absent_classes(labels)
    report: dict[str, Any] = {
        "pairs": len(labels), "classes": list(NAMES.values()), "macro_f1": None, "weighted_f1": None,
        "per_class": {name: _no_class(int((labels == label).sum())) for label, name in NAMES.items()},
        "confusion": None, "silhouette": None,
        "thresholds": {"different_up_to": used.thresholds.low, "duplicate_above": used.thresholds.high},
    }  # fmt: skip
    if len(labels) and used.thresholds.known:
        report |= classification_report(scores, labels, used.thresholds)
        for label in absent:
            report["per_class"][NAMES[label]] |= {"recall": None, "f1": None}
    reason = why_undefined(absent, used)
    if reason:
        report |= {"macro_f1": None, "weighted_f1": None}
    report["thresholds"]["source"] = used.source
    report["mean_absolute_difference_to_ssim"] = float(np.abs(scores - ssim).mean()) if len(labels) else None
    report["undefined"] = _undefined(reason, absent)
    return report


def why_undefined(absent: Sequence[Label], used: SourcedThresholds) -> str:
    """Say why F1 of all classes cannot be computed from test pairs; empty if it can.

    Args:
        absent: classes that no test pair has.
        used: thresholds.
    """
    if len(absent) == len(Label):
        return "there are no test pairs"
    if absent:
        return f"no test pair is of class {class_names(absent)}"
    return "" if used.thresholds.known else used.source


def _no_class(pairs: int) -> dict[str, Any]:
    return {"precision": None, "recall": None, "f1": None, "pairs": pairs, "predicted": None}


def _undefined(reason: str, absent: Sequence[Label]) -> dict[str, str]:
    found = dict.fromkeys(("macro_f1", "weighted_f1"), reason) if reason else {}
    nothing = reason if len(absent) == len(Label) else ""
    found |= {f"f1_{NAMES[label]}": nothing or f"no test pair is of class {NAMES[label]}" for label in absent}
    if Label.DUPLICATE in absent or len(absent) == len(Label) - 1:
        ranking = (
            found[f"f1_{NAMES[Label.DUPLICATE]}"] if Label.DUPLICATE in absent else "all test pairs are duplicates"
        )
        found |= dict.fromkeys(("auroc", "auprc", "precision_at_recall", "fpr_at_recall"), ranking)
    return found


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
    return _rates(matrix, train_keys, thresholds, subject_of or {})


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
    found = verified[verified["registered_ssim"] > SSIM_THRESHOLDS.high]
    return _rates(ssim, train_keys, SSIM_THRESHOLDS, subject_of or {}, set(found["real_key"]), set(found["synth_key"]))


def synthetic_subjects(synth_keys: Sequence[str], subject_of: Mapping[str, str]) -> list[str]:
    """Return the subject of each synthetic image, that of the record it was generated from.

    Args:
        synth_keys: keys of synthetic images.
        subject_of: subject of each real image by key; every other record is its own subject.
    """
    records = [key.rpartition(SEPARATOR)[0] or key for key in synth_keys]
    return [subject_of.get(f"{record}{SEPARATOR}{REAL_NAME}", record) for record in records]


def _rates(
    matrix: Scores,
    train_keys: list[str],
    thresholds: Thresholds,
    subject_of: Mapping[str, str],
    also_copied: Collection[str] = (),
    also_copying: Collection[str] = (),
) -> dict[str, Any]:
    """Return the rates of copies; synthetic images are counted block by block and only their counts by subject are kept.

    Args:
        also_copied, also_copying: keys of images that are copied, or copies, whatever their score.
        matrix, train_keys, thresholds, subject_of: see `copy_rates`.

    Returns:
        Fraction of synthetic images that copy a training image, fraction of training images copied, and the counts; and
        `synthetic_interval` and `training_interval`, 95 % by subject. Synthetic images belong to their record's subject.
    """
    copied = matrix.best_of_rows(train_keys).scores[:, 0].astype(np.float64) > thresholds.high
    copied |= np.array([key in also_copied for key in train_keys], bool)
    hits: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    start = 0
    for best in matrix.best_of_columns(train_keys):
        keys = matrix.keys_of_columns(np.arange(start, start + len(best.scores)))
        copying = best.scores[:, 0].astype(np.float64) > thresholds.high
        copying |= np.array([key in also_copying for key in keys], bool)
        subjects = synthetic_subjects(keys, subject_of)
        totals.update(subjects)
        hits.update(subject for subject, one in zip(subjects, copying.tolist(), strict=True) if one)
        start += len(keys)
    names = sorted(totals)
    counts = GroupCounts(*(np.array([of[name] for name in names], np.int64) for of in (hits, totals)))
    return {
        "synthetic_images": start,
        "training_images": int(copied.size),
        "synthetic_copies": hits.total(),
        "training_copied": int(copied.sum()),
        "share_of_synthetic_that_copy": hits.total() / start if start else float("nan"),
        "share_of_training_copied": float(copied.mean()),
        "synthetic_interval": rate_of_groups(counts),
        "training_interval": rate_by_group(copied, [subject_of.get(key, key) for key in train_keys]),
    }


def evaluate(
    matrix: Scores,
    test_set: pd.DataFrame,
    train_keys: list[str],
    used: SourcedThresholds,
    subject_of: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluate one metric on the labelled test pairs and count the copies it finds among all pairs.

    Args:
        matrix: scores of the metric, on aligned or misaligned images; must include the test pairs.
        test_set: columns `real_key`, `synth_key`, `ssim`, `label`.
        train_keys: images that the generator was trained on.
        used: thresholds of the metric; unknown ones leave `copies` null.
        subject_of: subject of each real image by key, for intervals of the copy rates.

    Raises:
        DataError: if a pair is not in the matrix.
    """
    scores = matrix.pair_scores(test_set["real_key"].tolist(), test_set["synth_key"].tolist())
    report = pair_results(scores, test_set["label"].to_numpy(dtype=np.int64), test_set["ssim"].to_numpy(), used)
    copies = None
    if used.thresholds.known:
        copies = copy_rates(matrix, train_keys, used.thresholds, subject_of)
    else:
        report["undefined"]["copies"] = used.source
    return {"metric": matrix.metric, **report, "copies": copies}
