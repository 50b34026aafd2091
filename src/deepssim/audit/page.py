"""The page of an audit: one HTML file with everything inside, which asks the network for nothing.

Not here: the statistics (examination.py), the pairs that it shows (gallery.py), files for other software (tables.py).
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from deepssim.audit.advice import next_steps
from deepssim.audit.comparison import Comparison
from deepssim.audit.context import context_entries
from deepssim.audit.gallery import FIRST, data_uri, gallery
from deepssim.audit.interval_text import INTERVAL_FILTERS
from deepssim.audit.phrases import fraction, page_phrases
from deepssim.audit.plots import controls_svg, scores_svg, shares_svg
from deepssim.audit.scan_words import extensions, said
from deepssim.audit.tables import MOST_SUBJECTS, AuditReport, subjects
from deepssim.audit.terms import terms
from deepssim.audit.units import FILE, SUBJECT, Unit, over
from deepssim.audit.wording import FEW, SIDE_NAMES, percent
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import AuditUnit
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.verdict import Verdict
from deepssim.reporting.environment import page_environment

_MOST_REASONS = 100  # why files were left out or not read, each in a row of the page
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
    what = report.config.audit.unit
    environment = page_environment("deepssim.audit", extensions(what))
    unit = report.circumstances.unit
    environment.filters |= {"fraction": fraction, "over": over} | INTERVAL_FILTERS
    environment.filters |= {"share": partial(share_text, unit=unit), "compared": partial(_compared_text, unit=unit)}
    table = subjects(report)
    page = environment.get_template("audit.html").render(
        summary=summary,
        comparison=_comparison_said(comparison, what),
        rates=_rates(report),
        words=page_phrases(report.figures, report.circumstances, hidden=report.config.audit.de_identified),
        next_steps=next_steps(report.figures, report.inventories, report.config.audit, report.circumstances),
        terms=terms(report.circumstances),
        side_names=SIDE_NAMES,
        grid=grid_text(report.config.audit),
        verdict_class=_CLASSES[report.figures.verdict],
        figures=report.figures.leakage,
        rule=report.figures.rule,
        controls=report.figures.controls,
        membership=report.figures.membership,
        confidence=report.config.audit.confidence,
        gallery=gallery(report, threads=threads),
        first=FIRST,
        subjects=table.head(MOST_SUBJECTS).to_dict("records"),
        most_reasons=_MOST_REASONS,
        more_subjects=max(0, len(table) - MOST_SUBJECTS),
        context=context_entries(summary["context"], what),
        settings=yaml.safe_dump(summary["settings"], sort_keys=False),
        **_plots(report),
    )
    Path(path).write_text(page, encoding="utf-8")


def share_text(interval: Interval, unit: Unit = SUBJECT, *, counts: bool = False) -> str:
    """Return a fraction with its interval in words.

    Args:
        interval: of the fraction.
        unit: what the interval counts.
        counts: give a fraction of few as counts.
    """
    if interval.total == 0 or not np.isfinite(interval.value):
        return "not known"
    value = fraction(interval) if counts else percent(interval.value)
    if not np.isfinite(interval.low):
        return f"{value} (no interval: {over(interval.method, unit.one, unit.many)})"
    return f"{value} ({percent(interval.low)} to {percent(interval.high)})"


def _compared_text(value: Any, unit: Unit) -> str:
    if isinstance(value, Interval):
        return share_text(value, unit, counts=True)
    if isinstance(value, float):
        return percent(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _comparison_said(comparison: Comparison | None, what: AuditUnit) -> Comparison | None:
    if comparison is None:
        return None
    rows, differences = (
        [row._replace(name=said(row.name, what)) for row in part] for part in (comparison.rows, comparison.differences)
    )
    return comparison._replace(rows=rows, differences=differences)


def grid_text(options: AuditConfig) -> str:
    """Return the size at which images or volumes were compared, in words.

    Args:
        options: section `audit`, whose unit is known.
    """
    volumes = options.unit is AuditUnit.VOLUME
    side = options.volume_side if volumes else options.compared_at
    return f"{side}x{side}x{side} voxels" if volumes else f"{side}x{side} pixels"


class _Rate(NamedTuple):
    """One row of the table of rates.

    Attributes:
        name, meaning: for people.
        share: the rate.
        unit: what its interval counts.
    """

    name: str
    share: Interval
    meaning: str
    unit: Unit

    @property
    def text(self) -> str:
        """The rate with its interval."""
        return share_text(self.share, self.unit, counts=True)

    @property
    def method(self) -> str:
        """How the interval was found."""
        return over(self.share.method, self.unit.one, self.unit.many)


def _rates(report: AuditReport) -> list[_Rate]:
    """Return every rate with its name and meaning, the steps from flagged images to copies first."""
    found, unit = report.figures.leakage, report.circumstances.unit
    rates = [
        _Rate("synthetic images above the limit", found["flagged_share"], "called copies", FILE),
        _Rate(
            "less false alarms", found["synthetic_that_copy"],
            "estimated rate of copies, without those that chance would put above the limit (N_copies of arXiv:2402.01054)", FILE,
        ),
        _Rate(
            "plus missed copies", found["with_missed"],
            "with copies below the limit added, if they were changed in the proportions of the positive controls below", FILE,
        ),
        _Rate(
            "negative controls above the limit", report.figures.rule.alarm_rate,
            f"false alarms, since these cannot be copies: {report.compared_controls}", unit,
        ),
        *_same_subject(report),
        _Rate("training images copied", found["training_copied"], "have at least one copy (N_mem of arXiv:2402.01054)", unit),
    ]  # fmt: skip
    if report.figures.verdict is Verdict.CANNOT_TELL:  # what the others say of copies, the verdict refuses to say
        return [rates[0]._replace(meaning="scores above the limit"), rates[3]]
    if unit.known:
        meaning = "have at least one image that was copied"
        rates.append(_Rate("training subjects copied", found["subjects_copied"], meaning, unit))
    what = report.config.audit.unit
    return [rate._replace(name=said(rate.name, what), meaning=said(rate.meaning, what)) for rate in rates]


def _same_subject(report: AuditReport) -> list[_Rate]:
    called, unit = report.figures.same_subject.called, report.circumstances.unit
    if called is None:
        return []
    meaning = f"other images of the same {unit.one} called copies, which are none: {report.figures.same_subject.images:,} training images"
    return [_Rate(f"same {unit.one}, another image, above the limit", called, meaning, unit)]


def _plots(report: AuditReport) -> dict[str, str]:
    figures = report.figures
    shares = [
        (rate.name, rate.share)
        for rate in _rates(report)
        if np.isfinite(rate.share.value) and ((rate.share.total or 0) >= FEW or not rate.name.startswith("training"))
    ]  # few are given as counts in the table
    scores = scores_svg(figures.copies.scores, figures.negative.scores, figures.rule.threshold)
    drawn = {
        "scores_plot": said(scores, report.config.audit.unit),
        "shares_plot": shares_svg(shares),
        "controls_plot": controls_svg(figures.controls, report.engine.distortions),
    }
    return {name: data_uri(svg.encode(), "image/svg+xml") for name, svg in drawn.items()}
