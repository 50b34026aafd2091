"""Plots of scores and figures.

Not here: pictures of images (pictures.py), the report page (page.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepssim.evaluation.labels import LABELS_BY_SCORE, Label
from deepssim.similarity.metrics import Metric

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {Label.DIFFERENT: "#0072B2", Label.SIMILAR: "#E69F00", Label.DUPLICATE: "#D55E00"}
_BINS = 60


def plot_histograms(
    paths: Sequence[str | Path], scores: Mapping[str, np.ndarray], labels: np.ndarray, metric: Metric
) -> None:
    """Draw the scores of the test pairs by true class, one panel per kind of evaluation.

    Args:
        paths: files to write; the ending `.png` or `.svg` decides the format.
        scores: by name of the panel, float (N,).
        labels: codes of `Label`, (N,).
        metric: its thresholds are drawn as lines.
    """
    figure = Figure(figsize=(5.2 * len(scores), 3.4), layout="constrained")
    panels = figure.subplots(1, len(scores), sharex=True, sharey=True, squeeze=False)[0]
    values = np.concatenate(list(scores.values()))
    edges = np.linspace(values.min(), max(values.max(), metric.thresholds.high), _BINS + 1)
    for panel, (name, these) in zip(panels, scores.items(), strict=True):
        for label in LABELS_BY_SCORE:
            chosen = these[labels == label]
            panel.hist(
                chosen, bins=edges, color=COLOURS[label], alpha=0.6, label=f"{label.name.lower()} ({len(chosen)} pairs)"
            )
        for threshold in (metric.thresholds.low, metric.thresholds.high):
            panel.axvline(threshold, color="black", linestyle="--", linewidth=1)
            panel.annotate(f"{threshold:g}", (threshold, 1), xycoords=("data", "axes fraction"), fontsize=8,
                           xytext=(2, -9), textcoords="offset points")  # fmt: skip
        panel.set_title(f"{name} images")
        panel.set_xlabel(f"{metric.title}, higher is more similar")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("test pairs")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, title="class by SSIM", frameon=False, fontsize=8, title_fontsize=8, ncols=3,
                  loc="outside lower center")  # fmt: skip
    save_plot(figure, paths)


def plot_f1(path: str | Path, summary: pd.DataFrame) -> None:
    """Draw macro-F1 of each metric, aligned beside misaligned, as bars with their values."""
    figure = Figure(figsize=(1.6 + 1.6 * summary["metric"].nunique(), 3.2), layout="constrained")
    panel = figure.subplots()
    metrics = list(dict.fromkeys(summary["metric"]))
    for offset, (kind, colour) in enumerate((("aligned", "#0072B2"), ("misaligned", "#D55E00"))):
        rows = summary[summary["images"] == kind].set_index("metric")["macro_f1"]
        bars = panel.bar(np.arange(len(metrics)) + 0.38 * offset, rows.loc[metrics], 0.36, color=colour, label=kind)
        panel.bar_label(bars, fmt="%.2f", fontsize=8)
    panel.set_xticks(np.arange(len(metrics)) + 0.19, metrics)
    panel.set_ylim(0, 1.08)
    panel.set_ylabel("macro-F1")
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    save_plot(figure, [path])


def save_plot(figure: Figure, paths: Sequence[str | Path]) -> None:
    """Save a figure as PNG or SVG, by the ending of each path."""
    # Without date and random ids the same numbers give the same file.
    with mpl.rc_context({"svg.hashsalt": "deepssim", "svg.fonttype": "none"}):
        for path in paths:
            kind = Path(path).suffix.removeprefix(".")
            figure.savefig(path, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
