"""What `deepssim.audit(...)` returns in a notebook: the summary, the pairs, and the report to show.

Not here: what the summary holds (tables.py), the page (page.py).
"""

from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepssim.audit.headline import REPORT_FILES
from deepssim.evaluation.verdict import Verdict

_FIGURES = {
    "flagged_share": "synthetic images above the limit",
    "synthetic_that_copy": "synthetic images that are copies, without false alarms",
    "subjects_copied": "subjects copied",
}


class AuditResult(dict[str, Any]):
    """What summary.json holds, as a dictionary, with what a notebook shows of it.

    Args:
        found: what summary.json holds.
        folder: of the report.
    """

    def __init__(self, found: dict[str, Any], folder: str | Path) -> None:
        super().__init__(found)
        self.folder = Path(folder)

    @property
    def verdict(self) -> str:
        """The verdict in a few words, one of `evaluation.verdict.Verdict`."""
        return str(self["verdict"]["result"])

    @property
    def reservations(self) -> list[str]:
        """What the verdict does not cover, a sentence each."""
        return list(self["verdict"]["reservations"])

    @property
    def figures(self) -> dict[str, Any]:
        """Fractions with their intervals and counts."""
        return dict(self["figures"])

    @property
    def copy_rate(self) -> float:
        """Fraction of the synthetic images that are copies, without false alarms, 0 to 1; NaN where the audit cannot tell."""
        value = self["figures"]["synthetic_that_copy"]["value"]
        return float("nan") if self.verdict == Verdict.CANNOT_TELL or value is None else float(value)

    @property
    def page(self) -> Path:
        """The report as a page."""
        return self.folder / REPORT_FILES["page"]

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Copies and borderline images with their originals, most similar first; columns as of pairs.csv."""
        return pd.read_csv(self.folder / REPORT_FILES["pairs"], dtype={"synthetic": str, "real": str, "subject": str})

    def __repr__(self) -> str:
        lines = [f"{self.verdict}: {self['verdict']['sentence']}", *(f"- {text}" for text in self.reservations)]
        return "\n".join([*lines, f"report: {self.page}"])

    def _repr_html_(self) -> str:
        """Return verdict, reservations and main figures as HTML, for a notebook."""
        reservations = "".join(f"<li>{escape(text)}</li>" for text in self.reservations)
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(_shown(self['figures'][key]))}</td></tr>"
            for key, name in _FIGURES.items()
            if self["figures"][key] is not None  # nobody is named
        )
        return (
            f"<div><p><b>{escape(self.verdict.capitalize())}.</b> {escape(self['verdict']['sentence'])}</p>"
            f"{f'<ul>{reservations}</ul>' if reservations else ''}<table>{rows}</table>"
            f"<p>Report: <code>{escape(str(self.page))}</code></p></div>"
        )


def _shown(figure: dict[str, Any]) -> str:
    if figure["value"] is None or not np.isfinite(figure["value"]):
        return f"not known ({figure['method']})"
    shown = f"{figure['value']:.1%}"
    if figure["low"] is not None:
        shown += f" ({figure['low']:.1%} to {figure['high']:.1%})"
    return shown if figure["count"] is None else f"{shown}, {figure['count']} of {figure['total']}"
