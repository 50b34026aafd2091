"""Whether training images and holdout were swapped, by constructed scores."""

import numpy as np
import pytest

from deepssim.audit.swapped import SWAPPED, swapped_findings

IMAGES, MADE, LIMIT = 60, 40, 1.0
TRAINED = np.arange(2 * IMAGES) < IMAGES


def found(*, of_train=0, of_holdout=0, subjects=IMAGES, certain=10.0):
    """Return the findings where so many synthetic images copy training and held-out images, of so many subjects."""
    names = [f"{side}{number % subjects}" for side in ("t", "h") for number in range(IMAGES)]
    scores, partners = np.random.default_rng(1).random(MADE), np.arange(MADE)
    scores[:of_train] = scores[MADE - of_holdout :] = 5.0
    partners[MADE - of_holdout :] += IMAGES
    return swapped_findings(scores, partners, LIMIT, certain, names, TRAINED)


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
        ({"of_holdout": 1, "certain": 4.0}, True),  # a single one that no unrelated image would reach
        ({"of_train": 1, "certain": 4.0}, False),
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


def test_the_share_of_held_out_images_is_what_chance_names():
    """Seven held-out subjects and no training subject are nothing unusual where nine of ten images are held out."""
    partners = np.arange(MADE) + IMAGES
    scores = np.where(np.arange(MADE) < 7, 5.0, 0.0)
    names = [str(number) for number in range(2 * IMAGES)]
    assert [item.kind for item in swapped_findings(scores, partners, LIMIT, 10.0, names, TRAINED)] == [SWAPPED]
    assert swapped_findings(scores, partners, LIMIT, 10.0, names, np.arange(2 * IMAGES) < IMAGES // 5) == []


def test_an_image_without_a_candidate_names_nobody():
    names = [str(number) for number in range(2 * IMAGES)]
    scores, partners = np.full(MADE, -np.inf), np.full(MADE, -1)
    assert swapped_findings(scores, partners, LIMIT, 10.0, names, TRAINED) == []
