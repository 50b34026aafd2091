"""Whether training images and holdout were swapped, by constructed scores."""

import numpy as np
import pytest

from deepssim.audit.retrieval import Neighbours
from deepssim.audit.swapped import SWAPPED, swapped_findings
from deepssim.similarity.topk import TopK

IMAGES, MADE = 60, 40


def unrelated(count, seed):
    """Return scores of unrelated images, quantiles of a tail that is exponential on the scale on which it is looked for."""
    tail = -0.3 * np.log(1 - (np.arange(count) + 0.5) / count)
    return 1 - np.exp(-np.random.default_rng(seed).permutation(tail))


def best(scores, partners):
    return TopK(scores[:, None].astype(np.float32), partners[:, None].astype(np.int64))


def found(*, of_train=0, of_holdout=0, subjects=IMAGES):
    """Return the findings where so many synthetic images copy training and held-out images, of so many subjects."""
    to_train, to_holdout = (unrelated(MADE, seed) for seed in (1, 2))
    partners = np.arange(MADE)
    to_train[:of_train] = 0.999
    to_holdout[MADE - of_holdout :] = 0.999
    ignored = best(unrelated(IMAGES, 3), np.zeros(IMAGES))
    neighbours = Neighbours(
        synthetic=best(to_train, partners), train=ignored, holdout=best(unrelated(IMAGES, 4), np.zeros(IMAGES)),
        holdout_synthetic=ignored, synthetic_holdout=best(to_holdout, partners),
    )  # fmt: skip
    names = [str(number % subjects) for number in range(IMAGES)]
    return swapped_findings(neighbours, names, names, np.ones(IMAGES, bool))


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
        assert findings[0].message.startswith(
            f"{copies['of_holdout']} of 40 synthetic images are more like held-out images"
        )


def test_too_few_held_out_images_say_nothing(monkeypatch):
    monkeypatch.setattr("tests.audit.test_swapped.IMAGES", 15)
    monkeypatch.setattr("tests.audit.test_swapped.MADE", 14)
    assert found(of_holdout=14) == []
