"""What was copied: synthetic images that are copies, training images and subjects that leak, copies of each.

Not here: when an image is a copy (calibration.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deepssim.audit.calibration import Rule
from deepssim.audit.controls import Control
from deepssim.audit.evidence import Best
from deepssim.evaluation.excess import excess_rate, independent_controls, rate_with_missed
from deepssim.evaluation.groups import Groups, rate_by_group
from deepssim.evaluation.intervals import Interval, share_interval
from deepssim.evaluation.jackknife import Scale, jackknife_interval, leave_one_out
from deepssim.images.distort import UNCHANGED

COPIES_BINS = ("1", "2", "3 to 5", "6 to 10", "more than 10")
_BIN_EDGES = (1, 2, 5, 10)
_LEAST_COPIED = 50  # subjects, for an interval of the copies of each image


@dataclass(frozen=True)
class Copies:
    """Which synthetic images are copies of what.

    Attributes:
        flagged: bool (S,), copies: identical, or by the rule.
        identical: bool (S,), equal in every pixel to a training image.
        original: int64 (S,), the training image that each resembles most; for identical ones the equal one.
        scores: float64 (S,), with that image.
        cues: float32 (S, C), the evidence for it.
        copied: bool (T,), training images with a copy.
    """

    flagged: np.ndarray
    identical: np.ndarray
    original: np.ndarray
    scores: np.ndarray
    cues: np.ndarray
    copied: np.ndarray


def find_copies(best: Best, rule: Rule, train_hashes: Sequence[str], synthetic_hashes: Sequence[str]) -> Copies:
    """Judge every synthetic image.

    Args:
        best: candidates of the synthetic images.
        rule: of the audit.
        train_hashes, synthetic_hashes: hash of each image's pixels; equal ones are copies whatever a score says.
    """
    place = {content: row for row, content in reversed(list(enumerate(train_hashes)))}
    equal = np.array([place.get(content, -1) for content in synthetic_hashes], dtype=np.int64)
    identical = equal >= 0
    flagged = rule.flags(best.scores) | identical
    original = np.where(identical, equal, np.maximum(best.partners, 0))
    copied = np.zeros(len(train_hashes), bool)
    copied[original[flagged]] = True
    scores = np.where(np.isfinite(best.scores), best.scores, 0.0)
    return Copies(flagged, identical, original, scores, best.cues, copied)


def leakage_figures(
    copies: Copies,
    confirmed: np.ndarray,
    rule: Rule,
    subjects: Sequence[str],
    synthetic_groups: Groups,
    *,
    confidence: float,
    repetitions: int,
    seed: int,
) -> dict[str, Any]:
    """Count what leaks, each figure with its interval.

    Args:
        copies, rule: of the audit.
        confirmed: copies whose score chance does not reach, bool (S,).
        subjects: of the training images.
        synthetic_groups: of the synthetic images; slices of one generated volume belong together.
        confidence, repetitions, seed: of intervals.

    Returns:
        `flagged_share` of synthetic images; `synthetic_that_copy`, the same less false alarms (N_copies);
        `training_copied` (N_mem); `subjects_copied`; `copies_per_image` of copied training images, with a histogram.

    Source: N_copies and N_mem of Dar et al., arXiv:2402.01054.
    """
    flagged, total = int(copies.flagged.sum()), len(copies.flagged)
    names = np.asarray(subjects, dtype=object).astype(str)
    leaked = sorted(set(names[copies.copied]))
    excess = excess_rate(copies.flagged, synthetic_groups, rule.false_alarms, confidence=confidence, seed=seed)
    certain = rate_by_group(copies.identical | confirmed, synthetic_groups, confidence)  # these are no false alarms
    value, low, high = np.fmax(excess.value, certain.value), excess.low, excess.high
    if np.isfinite(excess.low):  # else there is no interval, in particular none that ends at 0
        low, high = np.fmax(low, certain.low), np.fmax(high, certain.high if certain.count else 0.0)
    return {
        "flagged_share": rate_by_group(copies.flagged, synthetic_groups, confidence),
        "synthetic_that_copy": Interval(float(value), float(low), float(high), excess.method, flagged, total),
        "identical": int(copies.identical.sum()),
        "training_copied": rate_by_group(copies.copied, subjects, confidence),
        "subjects_copied": share_interval(len(leaked), len(set(names)), confidence),
        "copies_per_image": _copies_per_image(copies, names, confidence, seed),
    }


def with_missed(
    copies: Copies,
    rule: Rule,
    controls: Sequence[Control],
    subjects: Sequence[str],
    synthetic_groups: Groups,
    *,
    confidence: float,
    seed: int,
) -> Interval:
    """Return the rate of copies including missed ones, assuming that copies are distorted in the controls' proportions.

    Args:
        copies, rule, controls: of the audit.
        subjects: of the training images, some of which are the controls' originals.
        synthetic_groups: of the synthetic images.
        confidence, seed: of the interval.
    """
    hidden = [control.found for control in controls if control.distortion != UNCHANGED]
    return rate_with_missed(
        copies.identical, copies.flagged, synthetic_groups, rule.false_alarms, independent_controls(hidden, subjects),
        confidence=confidence, seed=seed,
    )  # fmt: skip


def mean_copies(counts: np.ndarray, subjects: Sequence[str] | np.ndarray, confidence: float, seed: int) -> Interval:
    """Return the mean number of copies of copied training images.

    Args:
        counts: copies of each, int (N,), at least 1.
        subjects: of these images.
        confidence, seed: of the interval; there is none below 50 subjects, since such counts are skewed.
    """
    nan, people = float("nan"), len(np.unique(subjects))
    if not people:
        return Interval(nan, nan, nan, "no copies")
    images = counts.astype(np.float64)
    if people < _LEAST_COPIED:
        return Interval(float(images.mean()), nan, nan, f"fewer than {_LEAST_COPIED} subjects are copied")
    weights = leave_one_out(subjects, seed)
    samples = (weights @ images) / weights.sum(axis=1)
    return jackknife_interval(float(images.mean()), samples, people, confidence, scale=Scale.LOG)


def _copies_per_image(copies: Copies, subjects: np.ndarray, confidence: float, seed: int) -> dict[str, Any]:
    counts = np.bincount(copies.original[copies.flagged], minlength=len(copies.copied))
    some = counts > 0
    bins = np.bincount(np.digitize(counts[some], _BIN_EDGES, right=True), minlength=len(COPIES_BINS))
    return {
        "mean": mean_copies(counts[some], subjects[some], confidence, seed),
        "most": int(counts.max(initial=0)),
        "histogram": dict(zip(COPIES_BINS, bins.tolist(), strict=True)),
    }


def subject_table(copies: Copies, train_keys: Sequence[str], subjects: Sequence[str]) -> pd.DataFrame:
    """Return one row per training subject that leaks, most copied first.

    Args:
        copies: of the audit.
        train_keys, subjects: of the training images.

    Returns:
        Columns subject, images, images_copied, copies (synthetic images), best_score, best_image (training key).
    """
    counts = np.bincount(copies.original[copies.flagged], minlength=len(train_keys))
    best = np.full(len(train_keys), -np.inf)
    np.maximum.at(best, copies.original, copies.scores)
    table = pd.DataFrame(
        {"subject": list(subjects), "key": list(train_keys), "copied": copies.copied, "copies": counts, "best": best}
    )
    table = table.sort_values(["best", "key"], ascending=[False, True], kind="stable")
    grouped = table.groupby("subject", sort=False).agg(
        images=("key", "size"), images_copied=("copied", "sum"), copies=("copies", "sum"),
        best_score=("best", "first"), best_image=("key", "first"),
    ).reset_index()  # fmt: skip
    grouped = grouped[grouped["images_copied"] > 0]
    return grouped.sort_values(["copies", "best_score"], ascending=False, kind="stable").reset_index(drop=True)
