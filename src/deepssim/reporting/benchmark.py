"""The scores of all metrics by true class, side by side: one histogram per metric, aligned above misaligned.

Not here: the histogram of one metric (plots.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepssim.evaluation.fitting import PUBLISHED, SourcedThresholds
from deepssim.metrics import Metric
from deepssim.reporting.plots import bin_edges, draw_classes, name_classes, save_figure


@dataclass(frozen=True)
class MetricScores:
    """What a column of the figure shows.

    Attributes:
        metric: the metric.
        used: thresholds of its evaluation.
        scores: of the test pairs, float (N,), by kind of images (aligned, misaligned).
    """

    metric: Metric
    used: SourcedThresholds
    scores: Mapping[str, np.ndarray]


def plot_benchmark(paths: Sequence[str | Path], columns: Sequence[MetricScores], labels: np.ndarray) -> None:
    """Draw the histograms of all metrics.

    Args:
        paths: files to write; the ending decides the format.
        columns: one metric each, all with the same kinds of images.
        labels: codes of `Label`, (N,).
    """
    kinds = list(columns[0].scores)
    figure = Figure(figsize=(3.1 * len(columns) + 0.6, 2.4 * len(kinds) + 0.8), layout="constrained")
    panels = figure.subplots(len(kinds), len(columns), sharex="col", squeeze=False)
    for place, column in enumerate(columns):
        edges = bin_edges(list(column.scores.values()), column.used.thresholds)
        for panel, kind in zip(panels[:, place], kinds, strict=True):
            draw_classes(panel, column.scores[kind], labels, edges, column.used.thresholds)
            panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            panel.tick_params(labelsize=8)
        source = "published" if column.used.source == PUBLISHED else "fitted" if column.used.thresholds.known else "no"
        low, high = column.metric.score_range
        panels[0, place].set_title(f"{column.metric.title}\n{source} thresholds", fontsize=9, pad=14)
        panels[-1, place].set_xlabel(f"score, {low:g} to {high:g}", fontsize=9)
    for panel, kind in zip(panels[:, 0], kinds, strict=True):
        panel.set_ylabel(f"{kind}: number of test pairs", fontsize=9)
    figure.suptitle("Scores by class; higher is more similar", fontsize=10)
    name_classes(figure, panels[0, 0])
    save_figure(figure, paths)
