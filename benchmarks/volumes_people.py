"""Copies of MR scans of three people: each person in turn stands for other patients, the scans of the others are real.

Two people set a limit that promises a rate of false alarms of a third at best, so that counts are all there is to say.

Not here: virtual patients (volumes_data.py), detectors (volumes_audit.py, volumes_rivals.py).
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.copies_rivals import Part
from benchmarks.volumes_data import CHANGES, OTHER_CONTRAST, OTHER_PATIENTS, Sizes, Trial, copies_of
from benchmarks.volumes_rivals import Detector, Judged
from deepssim.config.audit import AuditConfig
from deepssim.images.grid import to_grid
from deepssim.images.nifti import read_volume
from deepssim.images.packs import ImagePack
from deepssim.images.volumes import window_of

COPIED, LEFT_OUT = (
    "T1",
    "T2",
)  # contrast of each real person that is copied, and the one that is no real scan but judged


def read_people(folder: Path, side: int = Sizes().side) -> Part:
    """Read scans of several people as an audit does.

    Args:
        folder: of files `person_contrast.nii.gz`.
        side: voxels along each axis.
    """
    paths = sorted(folder.glob("*.nii.gz"))
    if not paths:
        raise SystemExit(
            f"{folder}: holds no files *.nii.gz; name the folder of person_contrast.nii.gz, or leave out --mri"
        )
    images = []
    for path in paths:
        volume = read_volume(path)
        images.append(to_grid(volume, None, side, window_of(volume, None, AuditConfig().intensity_percentiles, path)))
    names = [path.name.removesuffix(".nii.gz") for path in paths]
    return Part(ImagePack(np.stack(images), names), [name.split("_")[0] for name in names])


def trials(people: Part, learning: Part, names: Sequence[str] = tuple(CHANGES)) -> Iterator[Trial]:
    """Yield a trial for each person who stands for other patients.

    Args:
        people: scans of three people or more.
        learning: scans on which an encoder is trained.
        names: of the changes.
    """
    contrasts = np.array([key.split("_")[1] for key in people.pack.keys])
    subjects = np.asarray(people.subjects, dtype=object)
    for person in sorted(set(people.subjects)):
        other = subjects == person
        unrelated, again = _part(people, other), _part(people, ~other & (contrasts == LEFT_OUT))
        copies = copies_of(_part(people, ~other & (contrasts == COPIED)), unrelated.pack, names)
        yield Trial(
            _part(people, ~other & (contrasts != LEFT_OUT)), copies, {OTHER_PATIENTS: unrelated, OTHER_CONTRAST: again}, learning
        )  # fmt: skip


def _part(people: Part, chosen: np.ndarray) -> Part:
    rows = np.flatnonzero(chosen).tolist()
    keys = [people.pack.keys[row] for row in rows]
    return Part(ImagePack(people.pack.images[rows], keys), [people.subjects[row] for row in rows])


def people_table(people: Part, learning: Part, detectors: Sequence[Detector], threads: int) -> list[str]:
    """Judge scans of people by each detector; return a table of counts.

    Args:
        people, learning: see `trials`.
        detectors: to judge by.
        threads: processor threads.
    """
    head = ["detector", "copies called copies", "scans of the other person called copies",
            "another contrast of the same person called a copy", "copies that score above all scans of the other person"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    made = list(trials(people, learning))
    for detector in detectors:
        judged = [detector.judge(trial.real, learning, trial.judged, threads) for trial in made]
        lines.append(f"| {' | '.join([detector.title, *_counts(made, judged)])} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def _counts(made: Sequence[Trial], judged: Sequence[Judged]) -> list[str]:
    parts: dict[str, list[np.ndarray]] = {"copies": [], OTHER_PATIENTS: [], OTHER_CONTRAST: [], "above": []}
    for trial, found in zip(made, judged, strict=True):
        counts = [sum(len(part.subjects) for part in trial.copies.values())]
        counts += [len(part.subjects) for part in trial.others.values()]
        copies, others, again = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
        for name, rows in (("copies", copies), (OTHER_PATIENTS, others), (OTHER_CONTRAST, again)):
            parts[name].append(found.called[0][rows])
        parts["above"].append(found.scores[copies] > found.scores[others].max())
    joined = [np.concatenate(values) for values in parts.values()]
    return [f"{int(values.sum())} of {len(values)}" for values in joined]
