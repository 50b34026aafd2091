import numpy as np
import pytest

from deepssim.encoders.embeddings import Embeddings
from deepssim.evaluation.calibration import Rule
from deepssim.evaluation.controls import choose_controls, positive_controls
from deepssim.evaluation.intervals import share_interval
from deepssim.images.packs import ImagePack
from tests.audit_data import picture


def embed(pack):
    """Grey values themselves: sees an unchanged copy and hardly a flipped one."""
    values = pack.unit().reshape(len(pack.keys), -1)
    return Embeddings(values - values.mean(axis=1, keepdims=True), pack.keys, "pixels", "x")


@pytest.fixture
def train(random):
    return ImagePack(np.stack([picture(random) for _ in range(12)]), [f"t{n}" for n in range(12)])


def controls(train, **options):
    rule = Rule(0.9, None, 0.01, np.zeros(0, bool), share_interval(0, 0), "none")
    subjects = [f"p{n // 2}" for n in range(12)]
    chosen = {"count": 8, "k": 5, "confidence": 0.95, "seed": 0} | options
    return {
        control.distortion: control
        for control in positive_controls(train, embed(train), subjects, rule, embed, **chosen)
    }


def test_sensitivity_is_what_the_encoder_sees(train):
    found = controls(train)
    assert found["none"].found.value == found["none"].traced.value == 1
    assert found["none"].median_score == pytest.approx(1)
    assert found["JPEG"].found.value == 1
    assert found["flip up-down"].found.value < 0.2
    assert found["none"].found.total == 8


def test_an_autoencoder_is_one_more_control(train):
    shuffled = controls(train, reconstruct=lambda pack: ImagePack(np.roll(pack.images, 1, axis=0), pack.keys))
    assert shuffled["autoencoder"].found.value == 1
    assert shuffled["autoencoder"].traced.value < 0.5  # found, but taken for other subjects
    assert "autoencoder" not in controls(train)


def test_controls_are_of_as_many_subjects_as_possible():
    rows = choose_controls([f"p{n // 3}" for n in range(30)], 10, 0)
    assert sorted(row // 3 for row in rows) == list(range(10))
    assert choose_controls(["a", "b"], 10, 0) == [0, 1]
