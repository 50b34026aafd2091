"""The result of a finished audit in a few lines, for `deepssim show`.

Not here: the verdict (examination.py) and its words (wording.py), the results of a workflow that evaluates metrics
(evaluation/summary.py).
"""

import json
from pathlib import Path
from typing import Any

from deepssim.errors import readable
from deepssim.runtime.records import stage_of

REPORT_FILES = {
    "page": "index.html",
    "sheet": "summary.pdf",
    "summary": "summary.json",
    "pairs": "pairs.csv",
    "files": "files.csv",
    "keep": "keep.txt",
    "drop": "drop.txt",
}
RATING_FILES = {"rating_page": "rating.html", "rating_table": "rating.csv"}
"""Further files of a report with pairs for readers."""

CARD = "card.md"
"""Written beside these files on request."""


def audit_headline(results: str | Path) -> str | None:
    """Return the verdict of an audit, its reservations and the paths of its files, as text.

    Args:
        results: folder of a report, or results folder of a workflow.

    Returns:
        None if the folder holds no audit, or that of an earlier run of a workflow that has evaluated metrics since.

    Raises:
        DataError: if the summary of the audit is damaged.
    """
    root = Path(results)
    name = REPORT_FILES["summary"]
    folder = next((place for place in (root, root / "report") if (place / name).is_file()), None)
    if folder is None or stage_of(root, "report/index.html") == "report":
        return None
    with readable(folder / name, "the summary of an audit", "repeat the audit"):
        verdict: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))["verdict"]
        lines = [f"{verdict['result']}: {verdict['sentence']}", *(f"- {text}" for text in verdict["reservations"])]
    on_request = RATING_FILES | {"card": CARD}
    files = REPORT_FILES | {name: file for name, file in on_request.items() if (folder / file).is_file()}
    return "\n".join([*lines, "", *(f"{name:10} {folder / file}" for name, file in files.items())])
