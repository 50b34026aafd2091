"""Two audits side by side, of two generators or of two epochs of one, from what their summary.json holds.

Not here: what an audit finds (examination.py), the table on the page (templates/comparison.html).
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepssim.audit.headline import REPORT_FILES
from deepssim.errors import DataError, readable
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.verdict import Verdict

OTHER = "other report"
"""How a report is called whose name is not to be shown."""

_NOT_RECORDED = "not recorded"
_WHERE = (
    "real",
    "synthetic",
    "holdout",
    "subjects",
    "encoder",
    "autoencoder",
    "ratings",
)  # paths: what they hold is compared below
_UNKNOWN = {"value": None, "low": None, "high": None, "method": "patients are not known", "count": None, "total": 0}
# Settings that change what the page shows, or how much memory is used, not what is found.
_APART = ("gallery", "rating", "rating_pairs", "context", "max_memory_gb")
_RATES = {
    "synthetic_that_copy": "synthetic images that copy a training image",
    "flagged_share": "synthetic images above the limit",
    "with_missed": "synthetic images that copy, with missed copies added",
    "subjects_copied": "training subjects copied",
    "training_copied": "training images copied",
}


class ComparedRow(NamedTuple):
    """One result of both audits.

    Attributes:
        name: of the result.
        this, other: text, number or interval of this and of the other audit.
    """

    name: str
    this: Any
    other: Any


class Comparison(NamedTuple):
    """Two audits side by side.

    Attributes:
        name: of the other report.
        rows: results of both.
        differences: of what both were made from and with, where results cannot be compared without care.
    """

    name: str
    rows: list[ComparedRow]
    differences: list[ComparedRow]


def read_summary(folder: str | Path) -> dict[str, Any]:
    """Return what the summary of an earlier report holds.

    Args:
        folder: of the report.

    Raises:
        DataError: if it has no readable summary of an audit.
    """
    path = Path(folder) / REPORT_FILES["summary"]
    if not path.is_file():
        raise DataError(f"{path}: not found; --compare takes the folder of a report that deepssim audit has written")
    with readable(path, "the summary of an audit by this version", "repeat that audit"):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        compare(found, found, "")  # whether every result is there
    return found


def compare(this: Mapping[str, Any], other: Mapping[str, Any], name: str) -> Comparison:
    """Put two audits side by side.

    Args:
        this, other: what their summaries hold.
        name: of the other report.
    """
    rows = [ComparedRow(title, value(this), value(other)) for title, value in _results().items()]
    made_from = [ComparedRow(title, value(this), value(other)) for title, value in _CONDITIONS.items()]
    mine, others = _settings(this), _settings(other)
    made_from += [
        ComparedRow(f"setting {key}", mine.get(key, _NOT_RECORDED), others.get(key, _NOT_RECORDED))
        for key in sorted({*mine, *others})
    ]
    return Comparison(name, rows, [row for row in made_from if row.this != row.other])


def _results() -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    def rate(key: str) -> Callable[[Mapping[str, Any]], Interval]:
        def value(found: Mapping[str, Any]) -> Interval:
            # What is above the limit is counted whatever the verdict; what that says of copies is known only with one.
            known = key == "flagged_share" or found["verdict"]["result"] != Verdict.CANNOT_TELL
            return _interval((found["figures"][key] if known else None) or _UNKNOWN)

        return value

    return {
        "verdict": lambda found: found["verdict"]["result"],
        "reservations": lambda found: len(found["verdict"]["reservations"]),
        "synthetic images": lambda found: found["data"]["synthetic"]["images"],
        **{title: rate(key) for key, title in _RATES.items()},
        "identical synthetic images": lambda found: found["figures"]["identical"],
        "further copies confirmed one by one": lambda found: found["figures"]["confirmed"],
        "false alarms among negative controls": lambda found: _interval(found["controls"]["negative"]["false_alarms"]),
        "planted copies found": lambda found: found["verdict"]["controls_found"],
    }


_CONDITIONS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "version of deepssim": lambda found: found["versions"].get("deepssim", _NOT_RECORDED),
    "what is compared": lambda found: found["data"].get("unit", _NOT_RECORDED),
    "training images": lambda found: found["data"]["real"]["images"],
    "training subjects": lambda found: _or_not_known(found["data"]["real"]["subjects"]),
    "held-out images used": lambda found: found["data"].get("holdout", {}).get("used", 0),
    "protocol of the controls": lambda found: found["controls"]["protocol"],
    "what counts as a patient": lambda found: found["rule"]["counted"],
    "readers": lambda found: len(found["readers"].get("readers", [])),
    "encoder (SHA-256)": lambda found: found["encoder"]["sha256"] or "none",
    "limit calibrated on": lambda found: found["rule"]["calibrated_on"],
    "false alarms promised": lambda found: found["rule"]["false_alarms_promised"],
}
"""What both audits must share for their rates to be comparable, beside the settings."""


def _settings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that can change a result, one level deep, without paths."""
    sections = found["settings"]
    flat = {f"audit.{key}": value for key, value in sections["audit"].items() if key not in (*_WHERE, *_APART)}
    if found["encoder"]["sha256"]:  # an audit without an encoder does not use this section
        flat |= {f"encoder.{key}": value for key, value in sections["encoder"].items()}
    return flat | {"seed": sections["seed"]}


def _or_not_known(value: Any) -> Any:
    return "not known" if value is None else value


def _interval(stored: Mapping[str, Any]) -> Interval:
    value, low, high = (float("nan") if stored[name] is None else stored[name] for name in ("value", "low", "high"))
    return Interval(value, low, high, stored["method"], stored["count"], stored["total"])
