"""Who is copied: rates of copied subjects by age, sex, scanner or any other column of the table of subjects.

Not here: reading the table (subjects.py), the statistics (evaluation/strata.py), single subjects (worst_case.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepssim.audit.leakage import Copies
from deepssim.evaluation.strata import NOT_STATED, corrected_confidence, levels_of, rates_by_level, sorted_levels
from deepssim.seeds import numpy_generator

FEW_SUBJECTS = 20  # of a value, below which its rate says little
NOT_NAMED = "no column of a table was named for it (--covariate, audit.covariates)"
_MOST_LEVELS = 12
_LEAST_SUBJECTS = 5  # of a value in a de-identified report: fewer could be recognised


def covariate_rates(
    copies: Copies,
    subjects: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    *,
    confidence: float,
    salt: bytes | None = None,
) -> dict[str, Any]:
    """Return the rates of copied subjects and images by the values of each column.

    Args:
        copies: of the audit.
        subjects: of the training images.
        columns: value of each training image, by name of the column; empty where it is not known.
        confidence: of the intervals; that of all differences together.
        salt: hides the values of a de-identified report behind numbers in an order that it decides; None shows them.

    Returns:
        `columns` with `levels`: for each value `subjects` (fraction copied), `images`, `difference` from the subjects of all other
        values and whether it `differs` from 0, `copies` (synthetic images traced to it); `comparisons`; `confidence_of_differences`;
        `few`, values with fewer than 20 subjects; `reason`, why there is nothing, or None.
    """
    least = 1 if salt is None else _LEAST_SUBJECTS
    leveled = {
        name: levels_of(values, subjects, most=_MOST_LEVELS, least_groups=least) for name, values in columns.items()
    }
    comparisons = sum(_comparisons(len(set(levels))) for levels in leveled.values())
    found: list[dict[str, Any]] = [
        {"name": name, "levels": _levels(copies, subjects, levels, confidence, comparisons, _names(name, levels, salt))}
        for name, levels in leveled.items()
    ]
    return {
        "columns": found,
        "comparisons": comparisons,
        "confidence_of_differences": corrected_confidence(confidence, comparisons) if comparisons else None,
        "few": sum(level["subjects"].total < FEW_SUBJECTS for column in found for level in column["levels"]),
        "reason": None if columns else NOT_NAMED,
    }


def _comparisons(levels: int) -> int:
    """Return how many differences there are: of two values, one is the other's with another sign."""
    return {1: 0, 2: 1}.get(levels, levels)


def _levels(
    copies: Copies,
    subjects: Sequence[str],
    levels: Sequence[str],
    confidence: float,
    comparisons: int,
    names: Mapping[str, str],
) -> list[dict[str, Any]]:
    traced = Counter(levels[row] for row in copies.original[copies.flagged].tolist())
    rates = rates_by_level(copies.copied, subjects, levels, confidence=confidence, comparisons=comparisons)
    order = {name: place for place, name in enumerate(sorted_levels(list(names.values())))}
    rows = [
        {
            "level": names[rate.level],
            "subjects": rate.subjects,
            "images": rate.items,
            "copies": traced[rate.level],
            "difference": rate.difference if np.isfinite(rate.difference.value) else None,
            "differs": rate.differs,
        }
        for rate in rates
    ]
    return sorted(rows, key=lambda row: order[str(row["level"])])


def _names(column: str, levels: Sequence[str], salt: bytes | None) -> dict[str, str]:
    """Return how each level is called: by its own name, or hidden behind a number."""
    order = [level for level in sorted_levels(levels) if level != NOT_STATED]
    if salt is None:
        return {level: level for level in {*order, *levels}}
    numpy_generator(int.from_bytes(salt[:7], "big"), "levels", column).shuffle(order)
    return {level: f"value {number}" for number, level in enumerate(order, start=1)} | {NOT_STATED: NOT_STATED}
