"""Labelled test sets from elsewhere: check them before use, and set a part aside for fitting thresholds.

Not here: evaluation (evaluation/classification.py), fitting (evaluation/fitting.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepssim.datasets.tables import read_csv
from deepssim.errors import DataError
from deepssim.ground_truth.labels import Label
from deepssim.images.keys import checked_keys, split_key
from deepssim.seeds import numpy_generator

_NEEDED = ("real_key", "synth_key", "label")


def read_labelled(path: str | Path) -> pd.DataFrame:
    """Read a labelled test set: `real_key`, `synth_key` and `label`, 0 different, 1 duplicate, 2 similar.

    Raises:
        DataError: if a key could lead out of an images folder, a label is none of the three, a pair occurs twice or a
            class has no pair.
    """
    table = read_csv(path, needs=_NEEDED)
    for side in _NEEDED[:2]:
        checked_keys(table[side].tolist(), f"{path}: column {side!r}")
    labels = pd.to_numeric(table["label"], errors="coerce")
    wrong = table.index[~labels.isin(list(Label))]
    if len(wrong):
        raise DataError(
            f"{path}: {len(wrong)} of {len(table)} labels are not 0 (different), 1 (duplicate) or 2 (similar), first "
            f"{table['label'].tolist()[wrong[0]]!r} in line {wrong[0] + 2}"
        )
    repeated = table.index[table.duplicated(list(_NEEDED[:2]))]
    if len(repeated):
        pair = table.loc[repeated[0], list(_NEEDED[:2])].tolist()
        raise DataError(
            f"{path}: {len(repeated)} of {len(table)} rows repeat a pair, first {pair[0]!r} and {pair[1]!r} in line "
            f"{repeated[0] + 2}; remove them"
        )
    empty = [label.name.lower() for label in Label if not (labels == label).any()]
    if empty:
        raise DataError(
            f"{path}: {len(empty)} of {len(Label)} classes have no pair, first {empty[0]!r}; add pairs of each class"
        )
    return table.assign(label=labels.astype(np.int64))


def require_pairs(table: pd.DataFrame, real_keys: Sequence[str], synth_keys: Sequence[str], source: str | Path) -> None:
    """Check that every pair has a score.

    Args:
        table: labelled pairs.
        real_keys, synth_keys: keys of the matrix.
        source: file of the pairs, for messages.

    Raises:
        DataError: if keys are not in the index of the matrix.
    """
    known = table["real_key"].isin(set(real_keys)) & table["synth_key"].isin(set(synth_keys))
    absent = table.index[~known]
    if len(absent):
        pair = table.loc[absent[0], ["real_key", "synth_key"]].tolist()
        raise DataError(
            f"{source}: {len(absent)} of {len(table)} pairs are not in the index of the matrix, first {pair[0]!r} and "
            f"{pair[1]!r} in line {absent[0] + 2}; name the index files of this matrix or remove these rows"
        )


def record_subjects(table: pd.DataFrame, path: str | Path | None) -> dict[str, list[str]]:
    """Return the subject of the record of both images of each pair.

    Args:
        table: labelled pairs.
        path: CSV with `image_uid` (the record, as in the keys) and `subject`; without it every record is a subject.

    Returns:
        Subjects (N,) by side, `real` and `synth`.

    Raises:
        DataError: if the CSV names no subject for a record.
    """
    records = {side: [split_key(key)[0] for key in table[f"{side}_key"]] for side in ("real", "synth")}
    if path is None:
        return records
    rows = read_csv(path, needs=("image_uid", "subject"))
    of_record = dict(zip(rows["image_uid"].astype(str), rows["subject"].astype(str), strict=True))
    known = set(records["real"]) | set(records["synth"])
    absent = sorted(known - set(of_record))
    if absent:
        raise DataError(
            f"{path}: names no subject for {len(absent)} of {len(known)} records, first {absent[0]!r}; add rows with "
            "image_uid and subject"
        )
    return {side: [of_record[record] for record in of_side] for side, of_side in records.items()}


def calibration_half(subjects: dict[str, list[str]], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide a test set by subjects, for metrics whose thresholds must be fitted.

    Args:
        subjects: of both sides, as `record_subjects` gives them.
        seed: decides which half of the subjects is for fitting.

    Returns:
        Two bool arrays (N,): pairs to fit on, and pairs to judge by. They share no subject, real or synthetic; pairs of
        one subject of each half are in neither.
    """
    names = sorted(set(subjects["real"]) | set(subjects["synth"]))
    numpy_generator(seed, "calibration half").shuffle(names)
    chosen = set(names[: len(names) // 2])
    real, synthetic = (np.array([subject in chosen for subject in subjects[side]]) for side in ("real", "synth"))
    return real & synthetic, ~real & ~synthetic
