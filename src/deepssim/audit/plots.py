"""Plots of an audit's page, as SVG.

Not here: plots of labelled evaluations (plots.py, evaluation_plots.py).
"""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from deepssim.audit.controls import Control
from deepssim.evaluation.intervals import Interval

# Okabe and Ito's palette, which colour-blind readers can tell apart; the two sets differ in line style as well.
_SYNTHETIC, _CONTROL = "#D55E00", "#0072B2"
_BINS = 50


def scores_svg(synthetic: np.ndarray, controls: np.ndarray | None, threshold: float, published: float) -> str:
    """Draw the best scores of synthetic images beside those of images that cannot be copies.

    Args:
        synthetic: float (S,).
        controls: float (N,), or None.
        threshold: of the audit.
        published: threshold of a duplicate.

    Returns:
        SVG.
    """
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axis = figure.subplots()
    both = synthetic if controls is None else np.concatenate([synthetic, controls])
    edges = np.linspace(
        min(float(both.min()), threshold) - 0.01, max(float(both.max()), threshold) + 0.01, _BINS + 1
    ).tolist()
    axis.hist(synthetic, edges, weights=np.full(len(synthetic), 100 / len(synthetic)), color=_SYNTHETIC, alpha=0.55,
              label=f"synthetic ({len(synthetic):,})")  # fmt: skip
    if controls is not None and len(controls):
        axis.hist(controls, edges, weights=np.full(len(controls), 100 / len(controls)), histtype="step",
                  color=_CONTROL, linewidth=1.8, label=f"negative controls ({len(controls):,})")  # fmt: skip
    axis.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=f"limit {threshold:.3f}")
    if abs(published - threshold) > 1e-9:
        axis.axvline(published, color="black", linestyle=":", linewidth=1.2, label=f"published {published:g}")
    axis.set_xlabel("score with the nearest training image (cosine, higher is more similar)")
    axis.set_ylabel("images, %")
    _finish(axis)
    axis.legend(frameon=False, fontsize=8)
    return _svg(figure)


def shares_svg(rows: Sequence[tuple[str, Interval]]) -> str:
    """Draw shares with their intervals, one line each."""
    figure = Figure(figsize=(7.2, 0.75 + 0.34 * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, (_, share) in enumerate(rows):
        axis.plot([100 * share.low, 100 * share.high], [place, place], color=_CONTROL, linewidth=2)
        axis.plot(100 * share.value, place, "o", color=_SYNTHETIC, markersize=6)
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.invert_yaxis()
    axis.set_xlim(left=min(0, axis.get_xlim()[0]))
    axis.set_xlabel("%, with confidence interval")
    axis.grid(axis="x", linewidth=0.4, alpha=0.6)
    _finish(axis)
    return _svg(figure)


def controls_svg(controls: Sequence[Control]) -> str:
    """Draw the share of hidden copies that were found, by distortion."""
    return shares_svg([(control.distortion, control.found) for control in controls])


def _finish(axis: mpl.axes.Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Without date and random ids the same numbers give the same file.
    with mpl.rc_context({"svg.hashsalt": "deepssim", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
