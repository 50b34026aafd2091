"""Which synthetic scans are copies of real ones? The audit of whole volumes beside embeddings of slices and registration.

    python -m benchmarks.volumes --size --mri shared/data/mri_volumes

Virtual patients in three dimensions with several visits: copies of their scans that went through fixed changes, and scans that are no
copies, see volumes_data.py. No limit is fitted to copies: it is that of real scans among those of other patients. What detectors say is
kept in the work folder, so that one can be run again (`--detectors audit`); the tables hold all whose scans are these. `--size` adds time
and memory of an audit of 100 real against 300 synthetic scans, `--mri` copies of MR scans of three people. The tables go into
docs/benchmarks.md.

Not here: the scans (volumes_data.py), what is compared (volumes_audit.py, volumes_rivals.py), time and memory (volumes_size.py).
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ROOT
from benchmarks.audit import insert
from benchmarks.volumes_audit import AUDIT, audit
from benchmarks.volumes_data import (
    FURTHER,
    OTHER_CONTRAST,
    OTHER_PATIENTS,
    OTHER_VISITS,
    Sizes,
    Trial,
    virtual_trial,
)
from benchmarks.volumes_people import people_table, read_people
from benchmarks.volumes_registration import judge_by_registration
from benchmarks.volumes_rivals import RATES, Detector, judge_by_slices
from benchmarks.volumes_size import COUNTS, SHAPE, measure_size
from deepssim.evaluation.groups import rate_by_group
from deepssim.evaluation.intervals import Interval
from deepssim.evaluation.ranking import ranking_samples
from deepssim.runtime.json_files import write_json

_CONTROLS_OF_PEOPLE = 4  # scans that an audit of six copies itself
NAMES = (AUDIT.name, "pooled", "votes", "linkage", "registration")
ANCHORS = (
    (
        "arXiv:2312.07273, votes of slice embeddings (DINO, DINOv2), limit by Youden's index",
        "CT and MRI of the Medical Segmentation Decathlon",
        "96.45 %",
        "85.59 %",
    ),
    (
        "arXiv:2602.10043, registration and similarity of skull-stripped T1-weighted MRI",
        "scans of one person in several data sets",
        "nearly all pairs of visits linked; copies not tested",
        "",
    ),
)  # the published results, on other data: they are no rank in this table


@dataclass(frozen=True)
class Result:
    """What a detector said of a trial.

    Attributes:
        title: of the detector.
        scores: of the scans that it judged, float64 (S,).
        traced: bool (S,), whether it named a scan of the right patient.
        limits, promised: by rate of false alarms.
        called: bool (rates, S).
    """

    title: str
    scores: np.ndarray
    traced: np.ndarray
    limits: list[float]
    promised: list[float]
    called: np.ndarray


def judge(detector: Detector, trial: Trial, threads: int) -> dict[str, Any]:
    """Judge all scans of a trial; return what is kept of it."""
    judged = trial.judged
    found = detector.judge(trial.real, trial.learning, judged, threads)
    if not (len(found.scores) == len(found.partners) == found.called.shape[1] == len(judged.subjects)):
        raise ValueError(f"{detector.name} judged {len(found.scores)} of {len(judged.subjects)} scans")
    names = [trial.real.subjects[partner] if partner >= 0 else None for partner in found.partners.tolist()]
    return {
        "title": detector.title, "scans": trial.fingerprint, "scores": found.scores.tolist(),
        "traced": [name == subject for name, subject in zip(names, judged.subjects, strict=True)],
        "limits": found.limits, "promised": found.promised, "called": found.called.tolist(),
    }  # fmt: skip


def results(trial: Trial, work: Path) -> Iterator[Result]:
    """Yield what is kept of the scans of a trial, in the order of the tables."""
    for name in NAMES:
        path = work / f"{name}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        if kept is None or kept["scans"] != trial.fingerprint:
            print(f"{path}: nothing of these scans; run --detectors {name}", file=sys.stderr)
            continue
        yield Result(
            kept["title"], np.array(kept["scores"], np.float64), np.array(kept["traced"], bool), kept["limits"],
            kept["promised"], np.array(kept["called"], bool),
        )  # fmt: skip


# ---- page


def places_of(trial: Trial) -> dict[str, slice]:
    """Return where the scans of each change, and of what is no copy, are among those that are judged."""
    found, start = {}, 0
    for name, part in (*trial.copies.items(), *trial.others.items()):
        found[name] = slice(start, start + len(part.subjects))
        start += len(part.subjects)
    return found


def summary(trial: Trial, found: Sequence[Result]) -> list[str]:
    """Return a row for each detector and rate of false alarms, and those of the published results."""
    head = [
        "detector", "false alarms allowed (promised)", "sensitivity, all changes", "specificity, other patients",
        "called copies: same patients at other visits", "called copies: same visits in another contrast", "AUROC",
        "copies called and traced to the patient",
    ]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    names, places = np.asarray(trial.judged.subjects, dtype=object), places_of(trial)
    copies = slice(0, places[list(trial.copies)[-1]].stop)
    others, *further = (places[kind] for kind in (OTHER_PATIENTS, OTHER_VISITS, OTHER_CONTRAST))
    for item in found:
        ranked = np.concatenate([item.scores[copies], item.scores[others]])
        positive = np.arange(len(ranked)) < copies.stop
        auroc = float(ranking_samples(ranked, positive, np.ones((1, len(ranked)), np.int64))["auroc"][0])
        for row, rate in enumerate(RATES):
            called = item.called[row]
            rates = [
                rate_by_group(said[part], names[part].tolist()) for said, part in ((called, copies), (~called, others))
            ]
            again = [rate_by_group(called[part], names[part].tolist()) for part in further]
            right = float((called & item.traced)[copies].mean())
            cells = [
                item.title, f"{100 * rate:g} % ({100 * item.promised[row]:.1f} %)", _counted(rates[0]), _counted(rates[1]),
                *map(_counted, again), f"{auroc:.3f}", f"{100 * right:.1f} %",
            ]  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    for title, data, sensitivity, specificity in ANCHORS:
        cells = [f"{title}; {data}", "", sensitivity, specificity, *[""] * 4]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def by_change(trial: Trial, found: Sequence[Result]) -> list[str]:
    """Return a row for each change with the copies found at the first rate of false alarms."""
    head = ["copy through", *(item.title for item in found)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, part in places_of(trial).items():
        if name not in trial.copies:
            continue
        whose = trial.copies[name].subjects
        cells = [_counted(rate_by_group(item.called[0][part], whose)) for item in found]
        lines.append(f"| {' | '.join([name + (' *' if name in FURTHER else ''), *cells])} |")
    return lines


def _counted(rate: Interval) -> str:
    return f"{rate.count} of {rate.total}: {100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f})"


def described(trial: Trial) -> str:
    """Say what there is."""
    real, side = trial.real, trial.real.pack.images.shape[1]
    copied = next(iter(trial.copies.values()))
    kinds = "; ".join(
        f"{len(part.subjects)} scans of {name}, of {len(set(part.subjects))} patients" for name, part in trial.others.items()
    )  # fmt: skip
    return (
        f"{len(real.subjects)} real scans of {len(set(real.subjects))} virtual patients, {side} voxels along each axis; "
        f"copies of {len(copied.subjects)} of them with each of {len(trial.copies)} changes; {kinds}; {len(set(trial.learning.subjects))} "
        "further patients for the encoder."
    )


# ---- command


def rivals(work: Path) -> tuple[Detector, ...]:
    """Return the detectors.

    Args:
        work: folder that keeps encoders.
    """
    return (
        Detector("pooled", "pooled slice embeddings", partial(judge_by_slices, work=work, votes=False)),
        Detector("votes", "votes of slice embeddings", partial(judge_by_slices, work=work, votes=True)),
        Detector(
            "linkage", "registration to MNI152, correlation", partial(judge_by_registration, work=work, directly=False)
        ),
        Detector(
            "registration",
            "the same, then to the best candidate",
            partial(judge_by_registration, work=work, directly=True),
        ),
    )


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--detectors", nargs="*", choices=NAMES, default=NAMES, help="to run; default: all")
    parser.add_argument("--size", action="store_true", help="measure time and memory, too")
    parser.add_argument("--mri", type=Path, help="folder of MR scans of several people, person_contrast.nii.gz")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("results/volumes-benchmark"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="default: %(default)s")
    return parser.parse_args()


def main(sizes: Sizes = Sizes(), counts: tuple[int, int] = COUNTS, shape: tuple[int, int, int] = SHAPE) -> None:  # noqa: B008
    """Parse the command line, judge and write.

    Args:
        sizes: of the trial.
        counts, shape: of the audit whose time and memory are measured.
    """
    options = parse()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    trial = virtual_trial(sizes, work)
    print(described(trial), file=sys.stderr, flush=True)
    for detector in (AUDIT, *rivals(work)):
        if detector.name in options.detectors:
            write_json(work / f"{detector.name}.json", judge(detector, trial, options.threads))
            print(f"{detector.title}: judged", file=sys.stderr, flush=True)
    found = list(results(trial, work))
    insert(options.out, "volumes", [described(trial), "", *summary(trial, found), "", *by_change(trial, found)])
    if options.mri is not None:
        detectors = [audit(_CONTROLS_OF_PEOPLE), *rivals(work)]
        people = read_people(options.mri, sizes.side)
        insert(options.out, "volumes of people", people_table(people, trial.learning, detectors, options.threads))
    if options.size:
        insert(options.out, "size of volumes", [measure_size(work, counts, shape, options.threads)])
    print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
