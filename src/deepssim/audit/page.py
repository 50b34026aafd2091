"""The page of an audit: one HTML file with everything inside, which asks the network for nothing.

Not here: the statistics (examination.py), the pairs that it shows (gallery.py), files for other software (tables.py).
"""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from deepssim.audit.comparison import Comparison
from deepssim.audit.gallery import FIRST, data_uri, gallery
from deepssim.audit.plots import controls_svg, scores_svg, shares_svg
from deepssim.audit.tables import MOST_SUBJECTS, AuditReport, subjects
from deepssim.audit.wording import SIDE_NAMES, percent
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.verdict import Verdict
from deepssim.reporting.environment import page_environment

_CLASSES = {Verdict.COPIES: "found", Verdict.CANDIDATES: "unsure", Verdict.NONE: "none", Verdict.CANNOT_TELL: "unsure"}


def write_page(
    path: str | Path,
    report: AuditReport,
    summary: dict[str, Any],
    *,
    comparison: Comparison | None = None,
    threads: int = 1,
) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        report: all that was found.
        summary: the same as plain values, from `tables.summarise`.
        comparison: with an earlier audit.
        threads: pairs registered at a time.
    """
    environment = page_environment("deepssim.audit")
    environment.filters |= {"share": share_text, "compared": _compared_text}
    table = subjects(report)
    page = environment.get_template("audit.html").render(
        summary=summary,
        comparison=comparison,
        rates=_rates(report),
        side_names=SIDE_NAMES,
        verdict_class=_CLASSES[report.figures.verdict],
        figures=report.figures.leakage,
        rule=report.figures.rule,
        controls=report.figures.controls,
        membership=report.figures.membership,
        confidence=report.config.audit.confidence,
        gallery=gallery(report, threads=threads),
        first=FIRST,
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


def _compared_text(value: Any) -> str:
    if isinstance(value, Interval):
        return share_text(value)
    if isinstance(value, float):
        return percent(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rates(report: AuditReport) -> list[tuple[str, Interval, str]]:
    """Return every rate with its name and meaning, the steps from flagged images to copies first."""
    found = report.figures.leakage
    return [
        ("synthetic images above the limit", found["flagged_share"], "called copies"),
        (
            "less false alarms", found["synthetic_that_copy"],
            "estimated rate of copies, without those that chance would put above the limit (N_copies of arXiv:2402.01054)",
        ),
        (
            "plus missed copies", found["with_missed"],
            "with copies below the limit added, if they were changed in the proportions of the positive controls below",
        ),
        (
            "negative controls above the limit", report.figures.rule.alarm_rate,
            f"false alarms, since these cannot be copies: {report.figures.rule.controls}",
        ),
        ("training images copied", found["training_copied"], "have at least one copy (N_mem of arXiv:2402.01054)"),
        ("training subjects copied", found["subjects_copied"], "have at least one image that was copied"),
    ]  # fmt: skip


def _plots(report: AuditReport) -> dict[str, str]:
    figures = report.figures
    shares = [(name, share) for name, share, _ in _rates(report) if np.isfinite(share.value)]
    drawn = {
        "scores_plot": scores_svg(figures.copies.scores, figures.negative.scores, figures.rule.threshold),
        "shares_plot": shares_svg(shares),
        "controls_plot": controls_svg(figures.controls),
    }
    return {name: data_uri(svg.encode(), "image/svg+xml") for name, svg in drawn.items()}
