"""The page of an audit: one HTML file with everything inside, which asks the network for nothing.

Not here: the statistics (examination.py), the pairs that it shows (gallery.py), files for other software (tables.py).
"""

from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from deepssim.audit.context import context_entries
from deepssim.audit.gallery import data_uri, gallery
from deepssim.audit.interval_text import INTERVAL_FILTERS
from deepssim.audit.phrases import fraction, page_phrases
from deepssim.audit.plots import controls_svg, scores_svg, shares_svg
from deepssim.audit.tables import MOST_SUBJECTS, AuditReport, subjects
from deepssim.audit.units import SUBJECT, Unit, over
from deepssim.audit.wording import FEW, SIDE_NAMES, percent
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
    environment.filters |= {"percent": percent, "fraction": fraction, "over": over} | INTERVAL_FILTERS
    environment.filters["share"] = partial(share_text, unit=report.circumstances.unit)
    table = subjects(report)
    page = environment.get_template("audit.html").render(
        summary=summary,
        words=page_phrases(report.figures, report.circumstances),
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
        context=context_entries(summary["context"]),
        settings=yaml.safe_dump(summary["settings"], sort_keys=False),
        **_plots(report),
    )
    Path(path).write_text(page, encoding="utf-8")


def share_text(interval: Interval, unit: Unit = SUBJECT) -> str:
    """Return a fraction with its interval in words; `unit` is what the interval counts."""
    if interval.total == 0 or not np.isfinite(interval.value):
        return "not known"
    if not np.isfinite(interval.low):
        return f"{percent(interval.value)} (no interval: {over(interval.method, unit.one, unit.many)})"
    return f"{percent(interval.value)} ({percent(interval.low)} to {percent(interval.high)})"


def _plots(report: AuditReport) -> dict[str, str]:
    figures = report.figures
    shares = [
        ("synthetic images above the limit", figures.leakage["flagged_share"]),
        ("… less false alarms", figures.leakage["synthetic_that_copy"]),
        ("… plus missed copies", figures.leakage["with_missed"]),
        ("negative controls above the limit", figures.rule.alarm_rate),
    ]
    if figures.leakage["training_copied"].total >= FEW:  # fewer are given as counts
        shares.append(("training images copied", figures.leakage["training_copied"]))
    if report.circumstances.unit.known and figures.leakage["subjects_copied"].total >= FEW:
        shares.append(("training subjects copied", figures.leakage["subjects_copied"]))
    drawn = {
        "scores_plot": scores_svg(figures.copies.scores, figures.negative.scores, figures.rule.threshold),
        "shares_plot": shares_svg([(name, share) for name, share in shares if np.isfinite(share.value)]),
        "controls_plot": controls_svg(figures.controls),
    }
    return {name: data_uri(svg.encode(), "image/svg+xml") for name, svg in drawn.items()}
