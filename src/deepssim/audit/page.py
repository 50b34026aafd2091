"""The page of an audit: one HTML file with everything inside, which asks the network for nothing.

Not here: the statistics (examination.py), the pairs that it shows (gallery.py), files for other software (tables.py).
"""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from deepssim.audit.gallery import data_uri, gallery
from deepssim.audit.plots import controls_svg, scores_svg, shares_svg
from deepssim.audit.tables import MOST_SUBJECTS, AuditReport, subjects
from deepssim.audit.wording import SIDE_NAMES, percent
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.verdict import Verdict

_CLASSES = {Verdict.COPIES: "found", Verdict.CANDIDATES: "unsure", Verdict.NONE: "none", Verdict.CANNOT_TELL: "unsure"}


def write_page(path: str | Path, report: AuditReport, summary: dict[str, Any], *, threads: int = 1) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        report: all that was found.
        summary: the same as plain values, from `tables.summarise`.
        threads: pairs registered at a time.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deepssim.audit"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": percent, "share": share_text, "plain_share": plain_share, "kappa": kappa_text}
    table = subjects(report)
    page = environment.get_template("audit.html").render(
        summary=summary,
        side_names=SIDE_NAMES,
        verdict_class=_CLASSES[report.figures.verdict],
        figures=report.figures.leakage,
        rule=report.figures.rule,
        controls=report.figures.controls,
        membership=report.figures.membership,
        confidence=report.config.audit.confidence,
        gallery=gallery(report, threads=threads),
        subjects=table.head(MOST_SUBJECTS).to_dict("records"),
        more_subjects=max(0, len(table) - MOST_SUBJECTS),
        settings=yaml.safe_dump(summary["settings"], sort_keys=False),
        **_plots(report),
    )
    Path(path).write_text(page, encoding="utf-8")


def share_text(interval: Interval) -> str:
    """Return a share with its interval and counts in words."""
    if interval.total == 0 or not np.isfinite(interval.value):
        return "not known"
    if not np.isfinite(interval.low):
        return f"{percent(interval.value)} (no interval: {interval.method})"
    return f"{percent(interval.value)} ({percent(interval.low)} to {percent(interval.high)})"


def plain_share(share: dict[str, Any]) -> str:
    """Return a share of the summary, in which what is not known is None, in words."""
    if share["value"] is None:
        return "not known"
    ends = f"no interval: {share['method']}"
    if share["low"] is not None:
        ends = f"{percent(share['low'])} to {percent(share['high'])}"
    return f"{percent(share['value'])} ({ends})"


def kappa_text(kappa: dict[str, Any]) -> str:
    """Return a kappa of the summary with its interval in words."""
    if kappa["value"] is None:
        return f"not known: {kappa['method']}"
    ends = f"no interval: {kappa['method']}"
    if kappa["low"] is not None:
        ends = f"{kappa['low']:.2f} to {kappa['high']:.2f}"
    return f"{kappa['value']:.2f} ({ends})"


def _plots(report: AuditReport) -> dict[str, str]:
    figures = report.figures
    shares = [
        ("synthetic images above the limit", figures.leakage["flagged_share"]),
        ("… less false alarms", figures.leakage["synthetic_that_copy"]),
        ("… plus missed copies", figures.leakage["with_missed"]),
        ("negative controls above the limit", figures.rule.alarm_rate),
        ("training images copied", figures.leakage["training_copied"]),
        ("training subjects copied", figures.leakage["subjects_copied"]),
    ]
    drawn = {
        "scores_plot": scores_svg(figures.copies.scores, figures.negative.scores, figures.rule.threshold),
        "shares_plot": shares_svg([(name, share) for name, share in shares if np.isfinite(share.value)]),
        "controls_plot": controls_svg(figures.controls),
    }
    return {name: data_uri(svg.encode(), "image/svg+xml") for name, svg in drawn.items()}
