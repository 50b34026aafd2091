"""The worst case, not only the mean: which subjects most synthetic images are traced to, and how much of all copying that is.

Not here: which images are copies (leakage.py), groups of subjects (covariates.py), the statistics (evaluation/strata.py).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from deepssim.audit.leakage import Copies, subject_table
from deepssim.audit.sides import Side
from deepssim.evaluation.groups import group_codes, rate_by_group
from deepssim.evaluation.strata import corrected_confidence, held_by_top, most_by_chance

_SHOWN = 10  # subjects
_TOP = (1, 5)  # subjects whose part of all copies is given, and
_TENTH = 0.1  # of all subjects


def worst_case(
    copies: Copies, train: Side, synthetic: Side, name: Callable[[str], str], confidence: float
) -> dict[str, Any]:
    """Return the most copied subjects, and how unevenly copies are distributed.

    Args:
        copies: of the audit.
        train, synthetic: all images; slices of one generated volume belong together.
        name: how a subject is called in the report.
        confidence: of the intervals of all subjects together, since the most copied ones are chosen after the fact.

    Returns:
        `copies`: synthetic images traced to a subject; `subjects`, `copied`: all, and those with a copy; `top`: `copies` and
        `fraction` of all copies held by the most copied `subjects`; `probability_by_chance` that some subject would have as many as
        the most copied one if every copy were of a training image drawn at random, None without copies; `most_copied`: the first
        10 with their copies; `confidence_of_each`.
    """
    table = subject_table(copies, train.pack.keys, train.subjects)
    table = table[table["copies"] > 0]
    codes, count = group_codes(train.subjects)
    generated = synthetic.groups
    whose = codes[copies.original]
    # A volume counts once for each subject that it copies: its slices are one act of copying.
    pairs = np.unique(np.stack([generated[copies.flagged], whose[copies.flagged]]), axis=1)
    independent = np.bincount(pairs[1], minlength=count)
    total, each = int(copies.flagged.sum()), corrected_confidence(confidence, count)
    counts = table["copies"].to_numpy()
    tops = sorted({number for number in (*_TOP, int(np.ceil(_TENTH * count))) if number <= count})
    place = dict(zip(train.subjects, codes.tolist(), strict=True))
    return {
        "copies": total,
        "subjects": count,
        "copied": len(table),
        "top": [
            {"subjects": number, "copies": held, "fraction": held / total if total else None}
            for number in tops
            for held in [held_by_top(counts, number)]
        ],
        "probability_by_chance": most_by_chance(independent, np.bincount(codes)) if total else None,
        "most_copied": [
            {
                "subject": name(row.subject),
                "copies": int(row.copies),
                "fraction_of_copies": int(row.copies) / total,
                "fraction_of_synthetic": rate_by_group(
                    copies.flagged & (whose == place[row.subject]), synthetic.groups, each
                ),
            }
            for row in table.head(_SHOWN).itertuples()
        ],
        "confidence_of_each": each,
    }
