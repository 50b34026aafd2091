"""Plots of labelled evaluations: ranking curves, confusion, calibration, copy rates.

Not here: histograms and F1 (plots.py), plots of an audit (audit/plots.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepssim.ground_truth.labels import LABELS_BY_SCORE, Label
from deepssim.reporting.plots import save_figure

# Okabe and Ito's palette without yellow, which is too pale for lines; line styles tell metrics apart as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
_BINS = 10

ByPanel = Mapping[str, Mapping[str, np.ndarray]]


def plot_ranking(paths: Sequence[str | Path], scores: ByPanel, labels: np.ndarray) -> None:
    """Draw ROC and precision-recall curves of duplicates against all other pairs.

    Args:
        paths: files to write; the ending decides the format.
        scores: by kind of evaluation and metric, (N,).
        labels: codes of `Label`, (N,).
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    duplicate = labels == Label.DUPLICATE
    figure = Figure(figsize=(8.4, 3.7 * len(scores)), layout="constrained")
    axes = figure.subplots(len(scores), 2, squeeze=False)
    for (roc, curve), (kind, by_metric) in zip(axes, scores.items(), strict=True):
        if not 0 < duplicate.sum() < len(labels):
            for axis in (roc, curve):
                write_reason(axis, f"undefined: {int(duplicate.sum())} of {len(labels)} test pairs are duplicates")
        for (metric, values), colour, style in _drawn(by_metric, 0 < duplicate.sum() < len(labels)):
            fpr, tpr, _ = roc_curve(duplicate, values)
            precision, recall, _ = precision_recall_curve(duplicate, values)
            line: dict[str, Any] = {"color": colour, "linestyle": style}
            roc.plot(fpr, tpr, label=f"{metric} (area {auc(fpr, tpr):.3f})", **line)
            area = average_precision_score(duplicate, values)
            curve.plot(recall, precision, label=f"{metric} (area {area:.3f})", **line)
        roc.set(title=f"ROC, {kind} images", xlabel="false-positive rate", ylabel="true-positive rate")
        curve.set(title=f"Precision and recall, {kind} images", xlabel="recall", ylabel="precision")
        for axis in (roc, curve):
            axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
            if axis.lines:
                axis.legend(frameon=False, fontsize=8, loc="lower right" if axis is roc else "lower left")
            axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, paths)


def plot_calibration(paths: Sequence[str | Path], scores: ByPanel, ssim: np.ndarray) -> None:
    """Draw the mean SSIM of pairs against their score; a metric that estimates SSIM lies on the diagonal.

    Args:
        paths: files to write; the ending decides the format.
        scores: by kind of evaluation and metric, (N,).
        ssim: of the same pairs, float (N,).
    """
    figure = Figure(figsize=(4.3 * len(scores), 4.0), layout="constrained")
    axes = figure.subplots(1, len(scores), squeeze=False)[0]
    for axis, (kind, by_metric) in zip(axes, scores.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        if not len(ssim):
            write_reason(axis, "undefined: there are no test pairs")
        for (metric, values), colour, style in _drawn(by_metric, len(ssim) > 0):
            order = np.argsort(values, kind="stable")
            parts = [part for part in np.array_split(order, _BINS) if len(part)]
            means = [[values[part].mean(), ssim[part].mean(), ssim[part].std()] for part in parts]
            x, y, spread = np.array(means).T
            axis.errorbar(x, y, spread, color=colour, linestyle=style, marker="o", markersize=4, linewidth=1.2,
                          elinewidth=0.7, label=metric)  # fmt: skip
        axis.set(
            title=f"{kind} images",
            xlabel="score, mean of a tenth of the pairs",
            ylabel="SSIM (mean, standard deviation)",
        )
        if len(ssim):
            axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, paths)


def plot_confusion(paths: Sequence[str | Path], evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Draw the confusion matrix of every evaluation: counts as numbers, fractions of each true class in colour.

    Classes are in the order of their similarity.

    Args:
        paths: files to write; the ending decides the format.
        evaluations: results of `evaluate`.
    """
    columns = 2 if len(evaluations) > 1 else 1
    rows = -(-len(evaluations) // columns)
    figure = Figure(figsize=(3.9 * columns, 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(evaluations) :]:
        axis.set_visible(False)
    for axis, item in zip(axes, evaluations, strict=False):
        axis.set(title=_title(item), xlabel="class by score", ylabel="class by SSIM")
        if item["confusion"] is None:
            write_reason(axis, "undefined: no test pairs, or no thresholds")
            continue
        order = [item["classes"].index(label.name.lower()) for label in LABELS_BY_SCORE]
        counts, classes = np.array(item["confusion"])[np.ix_(order, order)], [item["classes"][row] for row in order]
        fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*counts.shape):
            colour = "white" if fractions[row, column] > 0.5 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
        axis.set_xticks(range(len(counts)), classes, fontsize=8)
        axis.set_yticks(range(len(counts)), classes, fontsize=8)
    save_figure(figure, paths)


def plot_copy_rate(paths: Sequence[str | Path], evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Draw the rates of synthetic images that copy and of training images copied, by metric, with intervals by subject.

    Args:
        paths: files to write; the ending decides the format.
        evaluations: results of `evaluate`.
    """
    figure = Figure(figsize=(7.0, 1.1 + 0.5 * len(evaluations)), layout="constrained")
    axis = figure.subplots()
    parts = (
        ("synthetic images that copy", "synthetic_interval", "o", -0.12),
        ("training images copied", "training_interval", "s", 0.12),
    )
    for (label, name, marker, offset), colour in zip(parts, _COLOURS, strict=False):
        # Null where one subject allows no interval; no rate where there are no thresholds.
        rates = [(item["copies"] or {}).get(name, {}) for item in evaluations]
        ends = [[rate.get(end) for end in ("value", "low", "high")] for rate in rates]
        values = 100 * np.array(ends, dtype=np.float64)
        errors = np.nan_to_num(np.abs(values[:, 1:] - values[:, :1]).T)
        axis.errorbar(values[:, 0], np.arange(len(evaluations)) + offset, xerr=errors, linestyle="", marker=marker,
                      markersize=5, color=colour, label=label)  # fmt: skip
    axis.set_yticks(
        range(len(evaluations)), [_title(item) + ("" if item["copies"] else " (no thresholds)") for item in evaluations]
    )
    axis.invert_yaxis()
    axis.set(xlabel="%, with 95 % interval", xlim=(-2, 102))
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside upper center")
    save_figure(figure, paths)


def write_reason(axis: Axes, reason: str) -> None:
    """Write into an empty panel why there is nothing to draw.

    Args:
        axis: the panel.
        reason: one short sentence.
    """
    axis.text(0.5, 0.5, reason, ha="center", va="center", fontsize=8, wrap=True, transform=axis.transAxes)


def _drawn(by_metric: Mapping[str, np.ndarray], defined: bool) -> list[tuple[tuple[str, np.ndarray], str, Any]]:
    """Return the scores of each metric with its colour and line style; nothing if no curve is defined."""
    return list(zip(by_metric.items(), _COLOURS, _STYLES, strict=False)) if defined else []


def _title(item: Mapping[str, Any]) -> str:
    return f"{item['metric']}, {'misaligned' if item['misaligned'] else 'aligned'}"
