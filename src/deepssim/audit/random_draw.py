"""Which subjects became training subjects by the toss of a coin, as the table of subjects declares it.

Not here: the draw itself (datasets/splits.py), the bound that it makes valid (further.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deepssim.audit.subjects import read_subject_table
from deepssim.config.audit import AuditConfig
from deepssim.datasets.splits import CANARY_LEFT_OUT
from deepssim.datasets.tables import CANARY_COLUMN, Split, canaries_of
from deepssim.errors import DataError


@dataclass(frozen=True)
class RandomDraw:
    """How it was decided at random who became a training subject.

    Attributes:
        inclusion: probability with which each subject was drawn, independently of all others.
        subjects: who took part in the draw, by the identifiers of the training and held-out images; None for all of
            them.
        absent: subjects who took part and of whom the audit has no image.
    """

    inclusion: float
    subjects: frozenset[str] | None = None
    absent: int = 0


def declared_draw(options: AuditConfig, train: Sequence[str], holdout: Sequence[str]) -> RandomDraw | None:
    """Return the draw that the columns `canary` and `split` of the table of subjects declare, as `dataset.canaries` writes them.

    Args:
        options: section `audit`.
        train, holdout: subjects of the images of both sides.

    Returns:
        None without a table, without these columns, or if no subject took part.

    Raises:
        DataError: if a subject's images lie on the other side than the table says, or `canary` is neither 0 nor 1.
    """
    if options.subjects is None:
        return None
    path = Path(options.subjects)
    table = read_subject_table(path)
    if CANARY_COLUMN not in table or "split" not in table:
        return None
    wrong = table[~pd.to_numeric(table[CANARY_COLUMN], errors="coerce").isin([0, 1])]
    if len(wrong):
        raise DataError(
            f"{path}: column {CANARY_COLUMN!r} is neither 0 nor 1 in {len(wrong)} of {len(table)} rows, first in line "
            f"{wrong.index[0] + 2}; correct them or remove the column"
        )
    drawn = {str(name): member for name, member in canaries_of(table).items()}
    sides = {True: set(train), False: set(holdout)}
    misplaced = sorted(name for name, member in drawn.items() if name in sides[not member])
    if misplaced:
        place, split = ("holdout", Split.TRAIN) if drawn[misplaced[0]] else ("training images", Split.HOLDOUT)
        raise DataError(
            f"{path}: {len(misplaced)} of {len(drawn)} canaries have images on the other side than column 'split' says, first "
            f"{misplaced[0]!r} among the {place} with split {split.value!r}; move the images, or name the right folders"
        )
    absent = sum(name not in sides[member] for name, member in drawn.items())
    return RandomDraw(1 - CANARY_LEFT_OUT, frozenset(drawn), absent) if drawn else None
