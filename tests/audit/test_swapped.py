"""Whether training images and holdout were swapped, by constructed scores and in a small audit."""

import numpy as np
import pytest

from deepssim.audit.cache import AuditCache
from deepssim.audit.examination import examine
from deepssim.audit.sides import Sides
from deepssim.audit.swapped import SWAPPED, swapped_findings
from deepssim.evaluation.verdict import Verdict
from tests.audit.folders import drawing
from tests.audit.test_further import OPTIONS, TOOLS, side

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


@pytest.mark.parametrize("copies", [0, 2])
def test_two_changed_copies_of_held_out_images_clear_nothing(tmp_path, copies):
    """Too few for a rate: they are seen because no unrelated image resembles another one so much."""
    random = np.random.default_rng(3)
    train, holdout = ([drawing(random) for _ in range(30)] for _ in range(2))
    changed = [np.rint(40 + 0.6 * image).astype(np.uint8) for image in holdout[:copies]]
    made = [*changed, *(drawing(random) for _ in range(30 - copies))]
    sides = Sides(side(train, "t"), side(made, "s"), side(holdout, "h"))
    figures = examine(sides, [], OPTIONS, TOOLS, AuditCache(tmp_path))
    assert [item.kind for item in figures.findings if item.hides] == [SWAPPED] * bool(copies)
    assert (figures.verdict is Verdict.CANNOT_TELL) is bool(copies)
