"""Whether training images and holdout were swapped, by constructed scores."""

import numpy as np
import pytest

from deepssim.audit.evidence import Best
from deepssim.audit.swapped import SWAPPED, swapped_findings

IMAGES, MADE, LIMIT = 60, 40, 1.0


def best(copies, seed):
    """Return scores of synthetic images below the limit, but for some copies, each of another image."""
    scores = np.random.default_rng(seed).random(MADE)
    scores[copies] = 5.0
    return Best(scores, np.arange(MADE), np.zeros((MADE, 5), np.float32), [str(number) for number in range(MADE)])


def found(*, of_train=0, of_holdout=0, subjects=IMAGES):
    """Return the findings where so many synthetic images copy training and held-out images, of so many subjects."""
    names = [str(number % subjects) for number in range(IMAGES)]
    sides = best(slice(0, of_train), 1), best(slice(MADE - of_holdout, MADE), 2)
    return swapped_findings(*sides, LIMIT, names, names)


@pytest.mark.parametrize(
    ("copies", "swapped"),
    [
        ({}, False),
        ({"of_train": 20}, False),
        ({"of_holdout": 6}, False),  # 1 in 64 by chance
        ({"of_holdout": 7}, True),  # 1 in 128
        ({"of_train": 10, "of_holdout": 12}, False),
        ({"of_train": 2, "of_holdout": 15}, True),
        ({"of_holdout": 30, "subjects": 3}, False),  # many copies of few people
    ],
)
def test_more_held_out_than_training_subjects_are_copied(copies, swapped):
    findings = found(**copies)
    assert [item.kind for item in findings] == ([SWAPPED] if swapped else [])
    if swapped:
        assert findings[0].qualifies
        assert findings[0].hides
        assert findings[0].message.startswith(
            f"{copies['of_holdout']} of 40 synthetic images resemble held-out images (of "
        )


def test_what_resembles_both_sides_names_the_side_that_it_resembles_more():
    both = best(slice(0, 20), 1)
    nearer = Best(both.scores + 1.0, both.partners, both.cues, both.subjects)
    names = [str(number) for number in range(IMAGES)]
    assert swapped_findings(nearer, both, LIMIT + 1.0, names, names) == []
    assert [item.kind for item in swapped_findings(both, nearer, LIMIT + 1.0, names, names)] == [SWAPPED]
