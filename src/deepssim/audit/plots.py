"""Plots of an audit's page, as SVG.

Not here: plots of labelled evaluations (plots.py, evaluation_plots.py).
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deepssim.audit.controls import Control
from deepssim.evaluation.intervals import Interval
from deepssim.images.distort import DISTORTIONS, Change

# Okabe and Ito's palette, which colour-blind readers can tell apart; the two sets differ in line style as well.
_SYNTHETIC, _CONTROL = "#D55E00", "#0072B2"
_BINS = 50


def scores_svg(synthetic: np.ndarray, controls: np.ndarray, threshold: float) -> str:
    """Draw the scores of synthetic images beside those of images that cannot be copies, on an axis linear up to 1, then logarithmic.

    Args:
        synthetic: float (S,), at least 0.
        controls: float (N,).
        threshold: of the audit; not drawn if infinite.

    Returns:
        SVG.
    """
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axis = figure.subplots()
    highest = max(float(synthetic.max(initial=1.0)), float(controls.max(initial=1.0)), 2.0)
    edges = np.sinh(np.linspace(0, np.arcsinh(1.05 * highest), _BINS + 1)).tolist()
    axis.hist(synthetic, edges, weights=np.full(len(synthetic), 100 / len(synthetic)), color=_SYNTHETIC, alpha=0.55,
              label=f"synthetic ({len(synthetic):,})")  # fmt: skip
    if len(controls):
        axis.hist(controls, edges, weights=np.full(len(controls), 100 / len(controls)), histtype="step",
                  color=_CONTROL, linewidth=1.8, label=f"negative controls ({len(controls):,})")  # fmt: skip
    if np.isfinite(threshold):
        axis.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=f"limit {threshold:.2f}")
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xlim(0, edges[-1])
    ticks = [tick for tick in (0, 0.5, 1, 2, 5, 10, 20) if tick <= edges[-1]]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xlabel("score with the best training image; unrelated images reach about 1")
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


def controls_svg(controls: Sequence[Control], changes: Mapping[str, Change] = DISTORTIONS) -> str:
    """Draw the fraction of copies found as a heat map, a row for each kind of change, from mild to strong.

    Args:
        controls: positive controls, in any order; those that are no distortion of the protocol come last, under their name.
        changes: distortions of the protocol, by name.

    Returns:
        SVG.
    """
    rows = _rows_of_controls(controls, changes)
    half = -(-len(rows) // 2)
    columns = max((len(cells) for _, cells in rows), default=1)
    figure = Figure(figsize=(11, 0.3 + 0.42 * half), layout="constrained")
    for axis, part in zip(figure.subplots(1, 2), (rows[:half], rows[half:]), strict=True):
        for place, (_, cells) in enumerate(part):
            for column, (level, found) in enumerate(cells):
                _draw_cell(axis, column, place, level, found)
        axis.set_xlim(-0.02, columns + 0.02)
        axis.set_ylim(half + 0.02, -0.02)
        axis.set_yticks([place + 0.5 for place in range(len(part))], [family for family, _ in part])
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    return _svg(figure)


def _rows_of_controls(
    controls: Sequence[Control], changes: Mapping[str, Change]
) -> list[tuple[str, list[tuple[str, float]]]]:
    """Group controls: family, then level and fraction found of each, in the protocol's order."""
    found = {control.distortion: control.found.value for control in controls}
    names = [*(name for name in changes if name in found), *(name for name in found if name not in changes)]
    rows: dict[str, list[tuple[str, float]]] = {}
    for name in names:
        change = changes.get(name)
        rows.setdefault(change.family if change else name, []).append((change.level if change else "", found[name]))
    return list(rows.items())


def _draw_cell(axis: mpl.axes.Axes, column: int, row: int, level: str, found: float) -> None:
    """Draw one cell: colour and number say the fraction found, the text below the strength."""
    red, green, blue, _ = colour = mpl.colormaps["cividis"](found) if np.isfinite(found) else (0.85, 0.85, 0.85, 1.0)
    axis.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
    # Weights of ITU-R BT.709; cividis grows lighter evenly, so that greyscale prints keep the order.
    ink = "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"
    text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    axis.text(column + 0.5, row + (0.36 if level else 0.5), _rounded(found), fontsize=10, fontweight="bold", **text)
    axis.text(column + 0.5, row + 0.76, level, fontsize=7, **text)


def _rounded(found: float) -> str:
    """Return a rate in percent that is 0 or 100 only where nothing or everything was found."""
    if not np.isfinite(found):
        return "?"
    whole = round(100 * found)
    return f"{min(max(whole, 1), 99) if 0 < found < 1 else whole} %"


def _finish(axis: mpl.axes.Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Without date and random ids the same numbers give the same file.
    with mpl.rc_context({"svg.hashsalt": "deepssim", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
