"""Cards of an audit in Markdown: a section for the generator's model card, and a card of its synthetic images.

The second follows the Synthetic Medical Data (SMD) Card: a description, and seven criteria (Zamzmi et al. 2024,
arXiv:2406.11143). Both hold only what summary.json holds; what was not stated or not tried is said to be missing.

Not here: the page (page.py), the results (tables.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from deepssim.audit.context import MISSING, context_entries
from deepssim.audit.interval_text import INTERVAL_FILTERS, decimal
from deepssim.audit.scan_words import extensions
from deepssim.audit.units import over
from deepssim.config.choices import AuditUnit
from deepssim.evaluation.intervals import percent

_SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|~$"})


def write_card(path: str | Path, summary: Mapping[str, Any]) -> None:
    """Write the cards.

    Args:
        path: Markdown file to write.
        summary: plain values as in summary.json.
    """
    what = AuditUnit(summary["data"]["unit"])
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deepssim.audit"), undefined=jinja2.StrictUndefined, autoescape=False,
        trim_blocks=True, lstrip_blocks=True, extensions=extensions(what),
    )  # fmt: skip  # escaped as Markdown, by `plain`
    environment.filters |= {
        "percent": percent,
        "plain": plain_markdown,
        "versus": versus,
        "over": over,
    } | INTERVAL_FILTERS
    text = environment.get_template("card.md").render(
        summary=summary,
        context=context_entries(dict(summary["context"]), what),
        missing=MISSING,
    )
    Path(path).write_text(text, encoding="utf-8")


def plain_markdown(text: str) -> str:
    """Return text on one line in which Markdown and HTML see no markup, also inside tables.

    Args:
        text: as a user or a file gave it.
    """
    return " ".join(str(text).split()).translate(_SPECIAL)


def versus(statistic: Mapping[str, float] | None) -> str:
    """Return a statistic of synthetic images beside that of real images.

    Args:
        statistic: an entry of `further.fidelity`, or None.
    """
    if statistic is None:
        return "not known"
    return f"{decimal(statistic['value'], 3)} (real images among each other: {decimal(statistic['floor'], 3)})"
