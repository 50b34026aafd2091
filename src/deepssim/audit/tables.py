"""What an audit writes for other software: summary.json, pairs.csv, files.csv, keep.txt and drop.txt.

Not here: the verdict in words (wording.py), the page for people (page.py), the figures (examination.py).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepssim.audit.context import context_summary
from deepssim.audit.covariates import covariate_rates
from deepssim.audit.criteria import criteria
from deepssim.audit.engine import Engine
from deepssim.audit.examination import AuditFigures
from deepssim.audit.identity import identity, report_date
from deepssim.audit.inventory import Inventory, without_names
from deepssim.audit.leakage import subject_table
from deepssim.audit.names import Names
from deepssim.audit.phrases import COMMENT, keep_header
from deepssim.audit.scan_words import said, summary_said
from deepssim.audit.second_opinions import SecondOpinions
from deepssim.audit.sides import Side, Sides
from deepssim.audit.stability import stability
from deepssim.audit.summary_schema import SCHEMA_VERSION
from deepssim.audit.tools import engine_of
from deepssim.audit.traces import place_of
from deepssim.audit.units import over
from deepssim.audit.wording import HIDDEN, Circumstances, circumstances, reservations, sentence
from deepssim.audit.worst_case import worst_case
from deepssim.config.base import as_settings
from deepssim.config.choices import AuditUnit
from deepssim.config.settings import Config
from deepssim.datasets.tables import write_csv
from deepssim.detection.score import Score
from deepssim.images.distort import protocol
from deepssim.images.folders import checksums
from deepssim.images.listing import printable
from deepssim.runtime.json_files import as_json
from deepssim.runtime.provenance import fingerprint, versions

MOST_SUBJECTS = 200  # rows of the table; a page with thousands would not open on a phone
_PATHS = ("real", "synthetic", "holdout", "subjects", "subject_pattern", "encoder", "autoencoder")


@dataclass(frozen=True)
class AuditReport:
    """All that a report is made from.

    Attributes:
        sides: the images that were judged.
        figures: what was found.
        inventories: what the folders hold, by `real`, `synthetic` and `holdout`.
        config: the settings.
        encoder: `source`, `sha256` and `training_seconds` of the encoder.
        salt: makes the numbers of a de-identified report hard to guess.
        date: when the audit was made; nothing else differs when it is repeated.
        opinions: of other seeds and of readers.
        covariates: text of each training image by column of the table of subjects.
    """

    sides: Sides
    figures: AuditFigures
    inventories: Mapping[str, Inventory]
    config: Config
    encoder: Mapping[str, Any]
    salt: bytes = b""
    date: str = field(default_factory=report_date)
    opinions: SecondOpinions = field(default_factory=SecondOpinions)
    covariates: Mapping[str, Sequence[str]] = field(default_factory=dict)

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

    @property
    def engine(self) -> Engine:
        """How the images, or volumes, were compared."""
        return engine_of(self.config.audit.unit)

    @cached_property
    def circumstances(self) -> Circumstances:
        """What the sentences of the report depend on."""
        return circumstances(self.figures, self.inventories, self.config.audit)

    @property
    def compared_controls(self) -> str:
        """What the negative controls are, in words."""
        unit = self.circumstances.unit
        return over(self.figures.rule.controls, unit.one, unit.many)

    @cached_property
    def names(self) -> Names:
        """How images and subjects are called in what is written."""
        options = self.config.audit
        return Names(self.sides, hidden=options.de_identified, salt=self.salt, what=options.unit)


def write_tables(report: AuditReport, *, summary: str, pairs: str, files: str, keep: str, drop: str) -> dict[str, Any]:
    """Write the files for other software and return what the summary holds.

    Args:
        report: all results.
        summary, pairs, files, keep, drop: files to write.
    """
    found = summarise(report)
    Path(summary).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    write_csv(pairs, pair_table(report))
    write_csv(files, file_table(report))
    names = release_names(report)
    called = report.opinions.called(report.figures.copies.flagged)
    constant = len(report.inventories["synthetic"].collection.constant)
    first = keep_header(report.figures.verdict, called, constant, report.config.audit.unit)
    for path, chosen, head in ((keep, ~called, [first]), (drop, called, [])):
        lines = [*head, *(names[row] for row in np.flatnonzero(chosen))]
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return found


def release_names(report: AuditReport) -> list[str]:
    """Name synthetic images so that their owner finds them: by path below the folder or, de-identified, by checksum.

    A path that looks like a comment begins with `./` instead.
    """
    if not report.config.audit.de_identified:
        return [f"./{key}" if key.startswith(COMMENT) else key for key in report.synthetic.pack.keys]
    files = report.inventories["synthetic"].collection.files
    parts = [key.partition("#")[2] for key in report.synthetic.pack.keys]
    hashes = checksums(files, 2)
    return [f"{digest}#{part}" if part else str(digest) for digest, part in zip(hashes, parts, strict=True)]


def file_table(report: AuditReport) -> pd.DataFrame:
    """Return a row for every file of every folder: side, file, status, reason and the number of its images that were judged."""
    hidden = report.config.audit.de_identified
    rows = []
    for side, item in report.inventories.items():
        images = Counter(path for files in item.collection.members for path in files)
        rows += [
            (
                side,
                HIDDEN if hidden else entry.name,
                entry.status.value,
                without_names(entry) if hidden else entry.reason,
                images[entry.path],
            )
            for entry in item.entries
        ]
    return pd.DataFrame(rows, columns=["side", "file", "status", "reason", "images"])


def kinds(report: AuditReport) -> np.ndarray:
    """Return the kind of each synthetic image.

    Returns:
        object (S,), text: "identical", "partial copy", "confirmed copy", "copy", "borderline" or "different".
    """
    figures = report.figures
    kind = np.full(len(report.synthetic.pack.keys), "different", dtype=object)
    below = figures.borderline[~figures.copies.flagged[figures.borderline]] if len(figures.borderline) else []
    kind[below] = "borderline"
    kind[figures.copies.flagged] = "copy"
    kind[figures.confirmed] = "confirmed copy"
    kind[figures.partial] = "partial copy"
    kind[figures.copies.identical] = "identical"
    return kind


def pair_table(report: AuditReport) -> pd.DataFrame:
    """Return a row for every copy and borderline image with its original, most similar first."""
    copies, kind = report.figures.copies, kinds(report)
    rows = np.flatnonzero(kind != "different")
    rows = rows[np.argsort(-copies.scores[rows], kind="stable")].tolist()
    names, keys = report.names, report.train.pack.keys
    table = pd.DataFrame(
        {
            "synthetic": [names.synthetic(report.synthetic.pack.keys[row]) for row in rows],
            "real": [names.real(keys[copies.original[row]]) for row in rows],
            "subject": [names.subject(report.train.subjects[copies.original[row]]) for row in rows],
            "kind": kind[rows],
            "score": copies.scores[rows].round(4),
            "above_limit": (copies.scores[rows] - report.figures.rule.threshold).round(4)
            if np.isfinite(report.figures.rule.threshold)
            else np.full(len(rows), np.nan),
        }
        | {name: copies.cues[rows, column].round(4) for column, name in enumerate(report.figures.score.names)}
        | {
            "standardised_excess": report.figures.further.excess[rows].round(4),
            "memorization_index": report.figures.further.index[rows].round(4),
        }
    )
    places = [place_of(keys[copies.original[row]]) for row in rows]
    if any(place_of(key) is not None for key in keys):  # images traced to scans
        table["scan"] = [HIDDEN if report.config.audit.de_identified else place and place.scan for place in places]
        table["axis"] = [place and place.axis for place in places]
        table["slice"] = pd.array([place and place.number for place in places], dtype="Int64")
    return table


def summarise(report: AuditReport) -> dict[str, Any]:
    """Return all figures as plain values."""
    figures, options = report.figures, report.config.audit
    rule, settings_sha256 = figures.rule, fingerprint(as_settings(report.config))
    own = replace(figures, verdict=figures.own_verdict or figures.verdict)
    names = [report.names.synthetic(key) for key in report.synthetic.pack.keys]
    found = as_json(
        {
            "schema_version": SCHEMA_VERSION,
            "identity": identity(
                report.inventories, date=report.date, auditor=options.context.auditor,
                settings_sha256=settings_sha256, hidden=options.de_identified,
            ),
            "verdict": {
                "result": figures.verdict.value,
                "sentence": said(report.opinions.opening(), options.unit) + sentence(own, report.inventories, options),
                "reservations": reservations(figures, report.inventories, options),
                "probability_by_chance": figures.chance if len(rule.alarms) else None,
                "controls_found": figures.sensitivity,
                "doubtful": figures.doubtful,
            },
            "figures": figures.leakage
            | ({} if report.circumstances.unit.known else {"subjects_copied": None})
            | {
                "confirmed": int(figures.confirmed.sum()),
                "partial": int(figures.partial.sum()),
                "score_confirms_above": figures.confirmed_above,
            },
            "rule": _rule(report),
            "score": _score(figures.score),
            "controls": {
                "protocol": protocol(report.config.seed, options.controls, report.engine.protocol),
                "negative": {"what": report.compared_controls, "false_alarms": rule.alarm_rate},
                "same_subject": asdict(figures.same_subject),
                "positive": [asdict(control) for control in figures.controls],
            },
            "membership": figures.membership,
            "further": figures.further.summary,
            "context": context_summary(options.context),
            "stability": stability(report.opinions.repetitions, names),
            "readers": report.opinions.readers,
            "preflight": [
                asdict(item) | {"items": [[report.names.any(name) for name in group] for group in item.items]}
                for item in figures.findings
            ],
            "subjects": subjects(report).head(MOST_SUBJECTS).to_dict("records"),
            "worst_case": worst_case(figures.copies, report.train, report.synthetic, report.names.subject, options.confidence),
            "covariates": covariate_rates(
                figures.copies, report.train.subjects, report.covariates,
                confidence=options.confidence, salt=report.salt if options.de_identified else None,
            ),
            "data": _data(report),
            "encoder": dict(report.encoder),
            "settings": shown_settings(report.config),
            "settings_sha256": settings_sha256,
            "images_sha256": fingerprint([list(side.pixel_hashes) for side in (report.train, report.synthetic, report.holdout) if side]),
            "versions": versions(),
        }
    )  # fmt: skip
    return summary_said({**found, "tests": as_json(criteria(found))}, options.unit)


def _score(score: Score) -> dict[str, Any]:
    """Return what the summary holds of the score."""
    values = {name: getattr(score, name).tolist() for name in ("medians", "scales", "weights")}
    return {"names": score.names, **values, "learned_from": score.learned_from}


def shown_settings(config: Config) -> dict[str, Any]:
    """Return the settings of an audit as plain values, without paths and patterns if it is de-identified."""
    settings = {name: as_settings(getattr(config, name)) for name in ("audit", "encoder", "seed", "device")}
    given = {name: value for name in _PATHS if (value := settings["audit"][name]) is not None}
    hidden = config.audit.de_identified
    settings["audit"] |= {name: HIDDEN if hidden else printable(value) for name, value in given.items()}
    settings["audit"]["ratings"] = [HIDDEN if hidden else printable(path) for path in config.audit.ratings]
    return settings


def _rule(report: AuditReport) -> dict[str, Any]:
    rule = report.figures.rule
    return {
        "score_above": rule.threshold if np.isfinite(rule.threshold) else None,
        "false_alarms_promised": rule.promised_rate,
        "calibrated_on": report.compared_controls,
        "images": len(rule.alarms),
        "subjects": rule.limit.groups if rule.limit else 0,
        "counted": report.circumstances.unit.many,
        "holdout": report.circumstances.holdout.value,
    }


def subjects(report: AuditReport) -> pd.DataFrame:
    """Return the subjects that leak, under the names of the report."""
    table = subject_table(report.figures.copies, report.train.pack.keys, report.train.subjects)
    table["subject"] = [report.names.subject(name) for name in table["subject"]]
    table["best_image"] = [report.names.real(key) for key in table["best_image"]]
    return table


def _data(report: AuditReport) -> dict[str, Any]:
    counts = {}
    for name, inventory in report.inventories.items():
        item = inventory.collection
        constant = [HIDDEN] * len(item.constant) if report.config.audit.de_identified else item.constant
        counts[name] = {
            "files": [
                {"status": status.value, "reason": reason, "count": count}
                for status, reason, count in inventory.counts(hide=report.config.audit.de_identified)
            ],
            "images": len(item.pack.keys),
            "sizes": item.sizes,
            "constant_and_not_judged": constant,
            "images_left_out": item.left_out,
            "stored": item.stored,
        }
    known = report.circumstances.unit.known
    counts["real"]["subjects"] = len(set(report.train.subjects)) if known else None
    if report.holdout:
        people = len(set(report.holdout.subjects)) if known else None
        counts["holdout"] |= {"used": len(report.holdout.pack.keys), "subjects": people}
    elif "holdout" in counts:
        counts["holdout"]["used"] = 0
    options = report.config.audit
    volumes = options.unit is AuditUnit.VOLUME
    return counts | {"unit": options.unit.value, "compared_at": options.volume_side if volumes else options.compared_at}
