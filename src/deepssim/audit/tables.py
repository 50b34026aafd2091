"""What an audit writes for other software: summary.json, pairs.csv, keep.txt and drop.txt.

Not here: the page for people (audit_page.py), the figures (evaluation/audit.py).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepssim.audit.examination import AuditFigures, Verdict
from deepssim.audit.leakage import subject_table
from deepssim.audit.retrieval import Neighbours
from deepssim.audit.sides import Side, Sides
from deepssim.config.base import as_settings
from deepssim.config.settings import Config
from deepssim.datasets.tables import write_csv
from deepssim.evaluation.groups import LEAST_GROUPS
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.images.folders import Collection, checksums
from deepssim.runtime.json_files import as_json
from deepssim.runtime.provenance import fingerprint, versions
from deepssim.seeds import numpy_generator

HIDDEN = "(left out: de-identified)"
MOST_SUBJECTS = 200  # rows of the table; a page with thousands would not open on a phone
_PATHS = ("real", "synthetic", "holdout", "subjects", "subject_pattern", "encoder", "autoencoder")


@dataclass(frozen=True)
class AuditReport:
    """All that a report is made from.

    Attributes:
        sides: the images that were judged.
        figures, neighbours: what was found.
        collections: what the folders hold, by `real`, `synthetic` and `holdout`.
        config: the settings.
        encoder: `source`, `sha256` and `training_seconds` of the encoder.
        salt: makes the numbers of a de-identified report hard to guess.
    """

    sides: Sides
    figures: AuditFigures
    neighbours: Neighbours
    collections: Mapping[str, Collection]
    config: Config
    encoder: Mapping[str, Any]
    salt: bytes = b""

    @property
    def train(self) -> Side:
        """The training images."""
        return self.sides.train

    @property
    def synthetic(self) -> Side:
        """The synthetic images."""
        return self.sides.synthetic

    @property
    def holdout(self) -> Side | None:
        """The held-out images that were used."""
        return self.sides.holdout

    @cached_property
    def names(self) -> "Names":
        """How images and subjects are called in what is written."""
        return Names(self)


class Names:
    """Names of images and subjects as they are or, in a de-identified report, numbers in an order that tells nothing."""

    def __init__(self, report: AuditReport) -> None:
        self._hidden = report.config.audit.de_identified
        seed = int.from_bytes(report.salt[:7], "big")
        holdout = report.holdout

        def numbers(names: list[str], kind: str) -> dict[str, str]:
            order = sorted(set(names))
            numpy_generator(seed, "names", kind).shuffle(order)
            return {name: f"{kind} {number}" for number, name in enumerate(order, start=1)} if self._hidden else {}

        self._real = numbers([*report.train.pack.keys, *(holdout.pack.keys if holdout else [])], "real image")
        self._subjects = numbers([*report.train.subjects, *(holdout.subjects if holdout else [])], "subject")
        self._synthetic = numbers(report.synthetic.pack.keys, "synthetic image")

    def real(self, key: str) -> str:
        """Name a training or held-out image."""
        return self._real.get(key, HIDDEN) if self._hidden else key

    def synthetic(self, key: str) -> str:
        """Name a synthetic image."""
        return self._synthetic.get(key, HIDDEN) if self._hidden else key

    def subject(self, name: str) -> str:
        """Name a subject."""
        return self._subjects.get(name, HIDDEN) if self._hidden else name

    def any(self, name: str) -> str:
        """Name a training image or a subject, whichever has this name."""
        return self._real.get(name) or self._subjects.get(name) or HIDDEN if self._hidden else name


def write_tables(report: AuditReport, *, summary: str, pairs: str, keep: str, drop: str) -> dict[str, Any]:
    """Write the files for other software and return what the summary holds.

    Args:
        report: all results.
        summary, pairs, keep, drop: files to write.
    """
    found = summarise(report)
    Path(summary).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    write_csv(pairs, pair_table(report))
    names = release_names(report)
    for path, chosen in ((keep, ~report.figures.copies.flagged), (drop, report.figures.copies.flagged)):
        lines = [names[row] for row in np.flatnonzero(chosen)]
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return found


def release_names(report: AuditReport) -> list[str]:
    """Name synthetic images so that their owner finds them: by path below the folder or, de-identified, by checksum."""
    if not report.config.audit.de_identified:
        return report.synthetic.pack.keys
    files = report.collections["synthetic"].files
    parts = [key.partition("#")[2] for key in report.synthetic.pack.keys]
    hashes = checksums(files, 2)
    return [f"{digest}#{part}" if part else digest for digest, part in zip(hashes, parts, strict=True)]


def kinds(report: AuditReport) -> np.ndarray:
    """Return the kind of each synthetic image.

    Returns:
        object (S,), text: "identical", "confirmed copy", "copy", "borderline" or "different".
    """
    figures = report.figures
    kind = np.full(len(report.synthetic.pack.keys), "different", dtype=object)
    below = figures.borderline[~figures.copies.flagged[figures.borderline]] if len(figures.borderline) else []
    kind[below] = "borderline"
    kind[figures.copies.flagged] = "copy"
    kind[figures.confirmed] = "confirmed copy"
    kind[figures.copies.identical] = "identical"
    return kind


def pair_table(report: AuditReport) -> pd.DataFrame:
    """Return a row for every copy and borderline image with its original, most similar first."""
    copies, kind = report.figures.copies, kinds(report)
    rows = np.flatnonzero(kind != "different")
    rows = rows[np.argsort(-copies.scores[rows], kind="stable")].tolist()
    names, keys, aligned = report.names, report.train.pack.keys, report.figures.aligned
    return pd.DataFrame(
        {
            "synthetic": [names.synthetic(report.synthetic.pack.keys[row]) for row in rows],
            "real": [names.real(keys[copies.original[row]]) for row in rows],
            "subject": [names.subject(report.train.subjects[copies.original[row]]) for row in rows],
            "kind": kind[rows],
            "score": copies.scores[rows].round(4),
            "neighbourhood_ratio": copies.ratios[rows].round(4),
            "ssim_aligned": [round(aligned[row].ssim, 4) if row in aligned else None for row in rows],
        }
    )


def summarise(report: AuditReport) -> dict[str, Any]:
    """Return all figures as plain values."""
    figures, options = report.figures, report.config.audit
    rule = figures.rule
    settings = {name: as_settings(getattr(report.config, name)) for name in ("audit", "encoder", "seed", "device")}
    if options.de_identified:
        settings["audit"] |= {name: HIDDEN for name in _PATHS if settings["audit"][name] is not None}
    return as_json(
        {
            "verdict": {
                "result": figures.verdict.value,
                "sentence": sentence(report),
                "reservations": [item.message for item in figures.findings if item.qualifies],
                "probability_by_chance": figures.chance if len(rule.alarms) else None,
            },
            "figures": figures.leakage
            | {"confirmed_by_ssim": int(figures.confirmed.sum()), "ssim_confirms_above": figures.confirmed_above},
            "rule": _rule(report),
            "controls": {
                "negative": {"what": rule.controls, "false_alarms": rule.alarm_rate},
                "positive": [asdict(control) for control in figures.controls],
            },
            "membership": figures.membership,
            "preflight": [
                asdict(item) | {"items": [[report.names.any(name) for name in group] for group in item.items]}
                for item in figures.findings
            ],
            "subjects": subjects(report).head(MOST_SUBJECTS).to_dict("records"),
            "data": _data(report),
            "encoder": dict(report.encoder),
            "settings": settings,
            "settings_sha256": fingerprint(as_settings(report.config)),
            "images_sha256": fingerprint([side.pixel_hashes for side in (report.train, report.synthetic, report.holdout) if side]),
            "versions": versions(),
        }
    )  # fmt: skip


def _rule(report: AuditReport) -> dict[str, Any]:
    rule, copies = report.figures.rule, report.figures.copies
    return {
        "score_above": rule.threshold,
        "neighbourhood_ratio_below": rule.most_ratio,
        "false_alarms_promised": rule.promised_rate,
        "calibrated_on": len(report.holdout.pack.keys) if report.holdout else None,
        "above_published_threshold": int((copies.scores > SSIM_THRESHOLDS.high).sum()),
        "published_threshold": SSIM_THRESHOLDS.high,
        "ratio_below_1": int((copies.ratios < 1).sum()),
    }


def subjects(report: AuditReport) -> pd.DataFrame:
    """Return the subjects that leak, under the names of the report."""
    table = subject_table(report.figures.copies, report.train.pack.keys, report.train.subjects)
    table["subject"] = [report.names.subject(name) for name in table["subject"]]
    table["best_image"] = [report.names.real(key) for key in table["best_image"]]
    return table


def _data(report: AuditReport) -> dict[str, Any]:
    counts = {}
    for name, item in report.collections.items():
        constant = [HIDDEN] * len(item.constant) if report.config.audit.de_identified else item.constant
        counts[name] = {"images": len(item.pack.keys), "sizes": item.sizes, "constant_and_not_judged": constant}
    counts["real"]["subjects"] = len(set(report.train.subjects))
    if report.holdout:
        counts["holdout"] |= {"used": len(report.holdout.pack.keys), "subjects": len(set(report.holdout.subjects))}
    return counts | {"compared_at": list(report.config.audit.image_size)}


def sentence(report: AuditReport) -> str:
    """Say in words what was found; the limits of it stand beside it in the report."""
    figures = report.figures
    copies, estimate, alarms = figures.copies, figures.leakage["synthetic_that_copy"], figures.rule.alarm_rate
    flagged, total = int(copies.flagged.sum()), len(copies.flagged)
    if figures.verdict is Verdict.NONE:
        found = f"None of {total:,} synthetic images was found to copy a training image"
        if not np.isfinite(estimate.high):
            return f"{found}; there is no upper bound of the rate of copies, since {estimate.method}."
        return (
            f"{found}; with {report.config.audit.confidence:.0%} "
            f"confidence at most {percent(estimate.high)} of such images are copies that this test sees."
        )
    if figures.verdict is Verdict.CANNOT_TELL:
        return _cannot_tell(report)
    known = bool(alarms.total)
    beside = f", beside {percent(alarms.value)} of images that cannot be copies" if known else ""
    text = f"{flagged:,} of {total:,} synthetic images ({percent(flagged / total)}) are called copies{beside}"
    if figures.verdict is Verdict.CANDIDATES:
        return text + (
            "; that is no more than chance explains."
            if known
            else "; how many false alarms that includes is not known."
        )
    certain = int(copies.identical.sum())
    extra = f" {certain:,} are identical to a training image in every pixel." if certain else ""
    ends = f"interval {percent(estimate.low)} to {percent(estimate.high)}"
    if not np.isfinite(estimate.low):
        ends = f"no interval: {estimate.method}"
    return f"{text}; without false alarms that is {percent(estimate.value)} ({ends}).{extra}"


def _cannot_tell(report: AuditReport) -> str:
    """Say why, and what the holdout can and cannot support."""
    limit = report.figures.rule.limit
    assert limit is not None
    flagged, total = int(report.figures.copies.flagged.sum()), len(report.figures.copies.flagged)
    people = "1 held-out subject" if limit.groups == 1 else f"{limit.groups} held-out subjects"
    return (
        f"The limit was calibrated on {people}, who support a false-alarm rate of {percent(limit.promised)} at best; "
        f"{flagged:,} of {total:,} synthetic images are above it, which proves neither copies nor their absence. Provide "
        f"held-out images of at least {LEAST_GROUPS} subjects, or of {round(1 / report.config.audit.false_positive_rate) - 1:,} "
        f"for a rate of {percent(report.config.audit.false_positive_rate)}."
    )


def percent(share: float) -> str:
    """Return a share in per cent with as many digits as it needs."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 99.95 or value == 0 else f"{value:.1f} %" if value >= 1 else f"{value:.2g} %"
