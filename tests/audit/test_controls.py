from functools import partial

import numpy as np
import pytest

from deepssim.audit.calibration import Rule
from deepssim.audit.controls import Originals, choose_controls, positive_control
from deepssim.evaluation.intervals import share_interval
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings
from tests.audit.folders import picture


def embed(pack):
    """Grey values themselves: sees an unchanged copy and hardly a flipped one."""
    values = pack.unit().reshape(len(pack.keys), -1)
    return Embeddings(values - values.mean(axis=1, keepdims=True), pack.keys, "pixels", "x")


@pytest.fixture
def train(random):
    return ImagePack(np.stack([picture(random) for _ in range(12)]), [f"t{n}" for n in range(12)])


def control(train, name, make):
    rule = Rule(0.9, None, 0.01, np.zeros(0, bool), share_interval(0, 0), "none")
    subjects = [f"p{n // 2}" for n in range(12)]
    rows = choose_controls(subjects, 8, 0)
    chosen = ImagePack(train.images[rows], [train.keys[row] for row in rows])
    return positive_control(name, [embed(make(chosen))], Originals([embed(train)], subjects, rows, 5, 0.95), rule)


def test_sensitivity_is_what_the_encoder_sees(train):
    found = {name: control(train, name, partial(distort, name=name, seed=0)) for name in DISTORTIONS}
    assert found["none"].found.value == found["none"].traced.value == 1
    assert found["none"].median_score == pytest.approx(1)
    assert found["JPEG 70"].found.value == 1
    assert found["flip up-down"].found.value < 0.2
    assert found["none"].found.total == 8


def test_copies_of_other_subjects_are_found_but_not_traced(train):
    shuffled = control(train, "autoencoder", lambda pack: ImagePack(np.roll(pack.images, 1, axis=0), pack.keys))
    assert shuffled.found.value == 1
    assert shuffled.traced.value < 0.5


def test_controls_are_of_as_many_subjects_as_possible():
    rows = choose_controls([f"p{n // 3}" for n in range(30)], 10, 0)
    assert sorted(row // 3 for row in rows) == list(range(10))
    assert choose_controls(["a", "b"], 10, 0) == [0, 1]
