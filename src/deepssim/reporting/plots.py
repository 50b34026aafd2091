"""Histograms of scores and bars of macro-F1.

Not here: curves and confusion matrices (evaluation_plots.py), pictures of images (pictures.py), the report page (page.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepssim.evaluation.fitting import SourcedThresholds
from deepssim.ground_truth.labels import LABELS_BY_SCORE, Label, Thresholds
from deepssim.metrics import Metric

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {Label.DIFFERENT: "#0072B2", Label.SIMILAR: "#E69F00", Label.DUPLICATE: "#D55E00"}
_BINS = 60
_NO_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def plot_histograms(
    paths: Sequence[str | Path],
    scores: Mapping[str, np.ndarray],
    labels: np.ndarray,
    metric: Metric,
    used: SourcedThresholds,
) -> None:
    """Draw the scores of the test pairs by true class, one panel per kind of evaluation.

    Args:
        paths: files to write; the ending `.png` or `.svg` decides the format.
        scores: by name of the panel, float (N,).
        labels: codes of `Label`, (N,).
        metric: whose title and range label the axis.
        used: thresholds to draw as lines.
    """
    figure = Figure(figsize=(5.2 * len(scores), 3.4), layout="constrained")
    panels = figure.subplots(1, len(scores), sharex=True, sharey=True, squeeze=False)[0]
    edges = bin_edges(list(scores.values()), used.thresholds)
    for panel, (name, these) in zip(panels, scores.items(), strict=True):
        draw_classes(panel, these, labels, edges, used.thresholds)
        panel.set_title(f"{name} images", pad=14)  # above the labels of thresholds
        panel.set_xlabel(metric.axis)
    panels[0].set_ylabel("test pairs")
    figure.suptitle(f"thresholds: {used.source}", fontsize=9)
    name_classes(figure, panels[0])
    save_figure(figure, paths)


def plot_labelled(path: str | Path, scores: np.ndarray, labels: np.ndarray, thresholds: Thresholds, title: str) -> None:
    """Draw the scores of labelled pairs of any metric by true class.

    Args:
        path: file to write; the ending decides the format.
        scores: float (N,).
        labels: codes of `Label`, (N,).
        thresholds: to draw as lines.
        title: of the plot.
    """
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    panel = figure.subplots()
    draw_classes(panel, scores, labels, bin_edges([scores], thresholds), thresholds)
    panel.set_title(title, pad=14)
    panel.set_xlabel("score, higher is more similar")
    panel.set_ylabel("test pairs")
    name_classes(figure, panel)
    save_figure(figure, [path])


def bin_edges(scores: Sequence[np.ndarray], thresholds: Thresholds) -> np.ndarray:
    """Return the edges of the bins that all panels of a metric share; they include the thresholds.

    Args:
        scores: of each panel, float (N,).
        thresholds: of the metric.

    Returns:
        float64 (61,), ascending.
    """
    values = np.concatenate(scores)
    if not values.size:  # no pairs, but perhaps thresholds to show
        values = np.array([0.0, 1.0])
    return np.linspace(
        values.min(), max(values.max(), thresholds.high) if thresholds.known else values.max(), _BINS + 1
    )


def draw_classes(
    panel: Axes, scores: np.ndarray, labels: np.ndarray, edges: np.ndarray, thresholds: Thresholds
) -> None:
    """Draw the histogram of the classes, one on top of the other, into a panel, and the thresholds as dashed lines.

    Stacked bars hide nothing and mix no colours; labels of thresholds stand above the panel, where no bar is.

    Args:
        panel: to draw into.
        scores: float (N,).
        labels: codes of `Label`, (N,).
        edges: of the bins, see `bin_edges`.
        thresholds: of the metric.
    """
    parts = [scores[labels == label] for label in LABELS_BY_SCORE]
    names = [f"{label.name.lower()} ({len(part)} pairs)" for label, part in zip(LABELS_BY_SCORE, parts, strict=True)]
    colours = [COLOURS[label] for label in LABELS_BY_SCORE]
    panel.hist(parts, bins=edges.tolist(), stacked=True, color=colours, label=names)
    limits = list(dict.fromkeys((thresholds.low, thresholds.high))) if thresholds.known else []
    # The lower one's label ends at its line and the upper one's begins there, so that they stay apart.
    sides = ["center"] if len(limits) == 1 else ["right", "left"]
    for threshold, side in zip(limits, sides, strict=False):
        panel.axvline(threshold, color="black", linestyle="--", linewidth=1)
        panel.annotate(f"{threshold:.4g}", (threshold, 1), xycoords=("data", "axes fraction"), fontsize=8, ha=side,
                       xytext=(0, 2), textcoords="offset points")  # fmt: skip
    panel.spines[["top", "right"]].set_visible(False)


def name_classes(figure: Figure, panel: Axes) -> None:
    """Put one legend of the classes below a figure.

    Args:
        figure: with one or more panels.
        panel: whose classes the legend lists.
    """
    handles, names = panel.get_legend_handles_labels()
    figure.legend(handles, names, title="class by SSIM", frameon=False, fontsize=8, title_fontsize=8, ncols=3,
                  loc="outside lower center")  # fmt: skip


def plot_f1(path: str | Path, summary: pd.DataFrame) -> None:
    """Draw macro-F1 of each metric, aligned beside misaligned, as bars with their values, or "undefined".

    Args:
        path: file to write; the ending decides the format.
        summary: table of `evaluation.summary.summary_table`.
    """
    figure = Figure(figsize=(1.6 + 1.6 * summary["metric"].nunique(), 3.2), layout="constrained")
    panel = figure.subplots()
    metrics = list(dict.fromkeys(summary["metric"]))
    for offset, (kind, colour) in enumerate((("aligned", "#0072B2"), ("misaligned", "#D55E00"))):
        values = (
            summary[summary["images"] == kind].set_index("metric")["macro_f1"].loc[metrics].astype(float).to_numpy()
        )
        bars = panel.bar(np.arange(len(metrics)) + 0.38 * offset, np.nan_to_num(values), 0.36, color=colour, label=kind)
        names = [f"{value:.2f}" if np.isfinite(value) else "undefined" for value in values]
        panel.bar_label(bars, names, fontsize=8, rotation=0 if np.isfinite(values).all() else 90)
    panel.set_xticks(np.arange(len(metrics)) + 0.19, metrics)
    panel.set_ylim(0, 1.08)
    panel.set_ylabel("macro-F1")
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    save_figure(figure, [path])


def save_figure(figure: Figure, paths: Sequence[str | Path]) -> None:
    """Save a figure.

    Args:
        figure: to save.
        paths: files to write, each in the format of its ending.
    """
    # Without date and random ids equal results give equal files.
    with mpl.rc_context({"svg.hashsalt": "deepssim", "svg.fonttype": "none"}):
        for path in paths:
            kind = Path(path).suffix.removeprefix(".")
            figure.savefig(path, format=kind, dpi=150, metadata=_NO_DATE.get(kind))
