"""Ranking statistics (AUROC, AUPRC, operating points) of a score, for many weighted samples at once.

Not here: bootstrap weights (intervals.py), classification by thresholds (classification.py).
"""

import numpy as np

_BLOCK = 4_000_000  # weights processed together


def ranking_samples(
    scores: np.ndarray,
    positives: np.ndarray,
    weights: np.ndarray,
    *,
    recall: float = 0.95,
    max_fpr: float = 0.01,
) -> dict[str, np.ndarray]:
    """Compute ranking statistics of B weighted samples of N items.

    Args:
        scores: floating point (N,), higher means positive.
        positives: bool (N,).
        weights: numeric (B, N), non-negative; multiplicity of each item in a sample.
        recall: recall at which precision and false-positive rate are reported.
        max_fpr: highest false-positive rate at which the true-positive rate is reported.

    Returns:
        float64 (B,) each: `auroc`, `auprc` (average precision), `precision` and `fpr` at the recall, `tpr` at the
        false-positive rate. NaN where a sample lacks positives or negatives.
    """
    order = np.argsort(-scores, kind="stable")
    sorted_scores, positive = scores[order], positives[order]
    last = np.flatnonzero(np.append(np.diff(sorted_scores) != 0, True))  # ends of groups of equal scores
    step = max(1, _BLOCK // max(1, len(scores)))
    parts = [
        _statistics(weights[start : start + step][:, order], positive, last, recall, max_fpr)
        for start in range(0, len(weights), step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _statistics(
    weights: np.ndarray, positive: np.ndarray, last: np.ndarray, recall: float, max_fpr: float
) -> dict[str, np.ndarray]:
    true = np.cumsum(weights * positive, axis=1)[:, last].astype(np.float64)
    false = np.cumsum(weights * ~positive, axis=1)[:, last].astype(np.float64)
    positives, negatives = true[:, -1:], false[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = true / positives, false / negatives
        precision = np.where(true + false > 0, true / (true + false), 1.0)
    gained = np.diff(tpr, axis=1, prepend=0)
    before = np.concatenate([np.zeros_like(fpr[:, :1]), fpr[:, :-1]], axis=1)
    under = np.concatenate([np.zeros_like(tpr[:, :1]), tpr[:, :-1]], axis=1)
    reached = (tpr >= recall - 1e-12).argmax(axis=1)
    rows = np.arange(len(weights))
    usable = (positives[:, 0] > 0) & (negatives[:, 0] > 0)
    statistics = {
        "auroc": ((fpr - before) * (tpr + under) / 2).sum(axis=1),
        "auprc": (gained * precision).sum(axis=1),
        "precision": precision[rows, reached],
        "fpr": fpr[rows, reached],
        "tpr": np.where(fpr <= max_fpr + 1e-12, tpr, 0).max(axis=1),
    }
    return {name: np.where(usable, values, np.nan) for name, values in statistics.items()}
