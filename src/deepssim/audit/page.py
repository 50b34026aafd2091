"""The page of an audit: one HTML file with everything inside, which asks the network for nothing.

Not here: the figures (evaluation/audit.py), files for other software (audit_tables.py).
"""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from PIL import Image

from deepssim.audit.examination import Verdict
from deepssim.audit.plots import controls_svg, scores_svg, shares_svg
from deepssim.audit.tables import MOST_SUBJECTS, AuditReport, kinds, subjects
from deepssim.audit.wording import SIDE_NAMES, percent
from deepssim.evaluation.intervals import Interval

_LARGEST = 128  # pixels of a shown image's longer side; larger ones would make the page too heavy
_CLASSES = {Verdict.COPIES: "found", Verdict.CANDIDATES: "unsure", Verdict.NONE: "none", Verdict.CANNOT_TELL: "unsure"}


def write_page(path: str | Path, report: AuditReport, summary: dict[str, Any]) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        report: all that was found.
        summary: the same as plain values, from `audit_tables.summarise`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deepssim.audit"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": percent, "share": share_text}
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
        gallery=_gallery(report),
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
    return {name: _data_uri(svg.encode(), "image/svg+xml") for name, svg in drawn.items()}


def _gallery(report: AuditReport) -> list[dict[str, Any]]:
    """Return the pairs to show: the best ones and those closest to the limit."""
    copies, kind, names = report.figures.copies, kinds(report), report.names
    best = np.argsort(-copies.scores, kind="stable")[: report.config.audit.gallery].tolist()
    further = [row for row in report.figures.borderline if row not in set(best)]
    shown = []
    for row in [*best, *further]:
        original = copies.original[row]
        shown.append(
            {
                "synthetic": names.synthetic(report.synthetic.pack.keys[row]),
                "real": names.real(report.train.pack.keys[original]),
                "subject": names.subject(report.train.subjects[original]),
                "kind": kind[row],
                "borderline": bool(row in set(report.figures.borderline)),
                "score": float(copies.scores[row]),
                **_pictures(report, row),
            }
        )
    return shown


def _pictures(report: AuditReport, row: int) -> dict[str, Any]:
    real, synthetic = (
        pack.images[place] / 255
        for pack, place in ((report.train.pack, report.figures.copies.original[row]), (report.synthetic.pack, row))
    )
    return {
        "ssim": float(report.figures.copies.cues[row, 3]),
        "real_picture": _png(real),
        "synthetic_picture": _png(synthetic),
        "difference": _png(np.abs(real - synthetic)),
        "aligned_difference": _png(np.abs(real - synthetic)),
    }


def _png(image: np.ndarray) -> str:
    picture = Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
    picture.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return _data_uri(buffer.getvalue(), "image/png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
