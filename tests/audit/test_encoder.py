"""An encoder, given or trained by a thorough audit, is one more source of candidates and of evidence."""

import pandas as pd
import pytest

from deepssim.audit.encoder import _options
from deepssim.config.choices import Distortion
from deepssim.config.settings import Config
from deepssim.detection.score import COSINE
from deepssim.errors import DataError
from deepssim.registration.proof import CUES
from tests.audit.folders import make_folders, tiny_encoder
from tests.audit.test_run import run


@pytest.fixture
def folders(tmp_path):
    return make_folders(tmp_path / "data")


def test_one_image_cannot_train_an_encoder(tmp_path):
    root = make_folders(tmp_path / "data", real=1, synthetic=1, copies=0)
    with pytest.raises(DataError, match="1 subjects are too few to train an encoder.*--encoder"):
        run(root, tmp_path / "report", thorough=True)
    assert not (tmp_path / "report" / "index.html").exists()


def test_a_thorough_audit_trains_one_encoder_once(tmp_path, folders):
    tiny = {
        "depths": [1, 1, 1, 1], "widths": [8, 8, 16, 16], "patch_size": 2, "hidden_features": 16, "embedding_features": 8,
        "epochs": 1, "passes": 1, "batch_size": 4, "canonicalize": False, "ssim_features": False,
    }  # fmt: skip
    first = run(
        folders,
        tmp_path / "a",
        tmp_path / "cache",
        thorough=True,
        encoder_settings=tiny,
        device="cpu",
        image_size=[32, 32],
    )
    assert first["encoder"]["source"] == "trained on the training images"
    assert first["encoder"]["training_seconds"] > 0
    assert first["figures"]["identical"] == 3
    second = run(
        folders,
        tmp_path / "b",
        tmp_path / "cache",
        thorough=True,
        encoder_settings=tiny,
        device="cpu",
        image_size=[32, 32],
    )
    assert second["encoder"]["training_seconds"] is None  # trained once
    assert second["encoder"]["sha256"] == first["encoder"]["sha256"]
    assert first["score"]["names"] == [*CUES, COSINE]


def test_an_encoder_is_one_more_cue(tmp_path, folders):
    encoder = tiny_encoder(tmp_path / "tiny.safetensors")
    for name, source in (("a", {}), ("b", {"encoder": encoder, "image_size": [32, 32]})):
        found = run(folders, tmp_path / name, tmp_path / "cache", holdout=folders / "holdout", **source)
        pairs = pd.read_csv(tmp_path / name / "pairs.csv").set_index("synthetic")
        assert found["figures"]["identical"] == 3
        assert (COSINE in pairs) is (COSINE in found["score"]["names"]) is (name == "b")
    assert pairs.loc["s01.png", COSINE] == pytest.approx(1, abs=1e-4)
    assert found["encoder"]["source"] == "given"
    assert len(found["encoder"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("images", "epochs", "passes"),
    [(100, 6, 8), (300, 6, 2), (1000, 5, 1), (5000, 1, 1), (20_000, 1, 1)],
)
def test_training_takes_about_as_long_for_many_images_as_for_few(images, epochs, passes):
    options = _options(Config(), images)
    assert (options.epochs, options.passes) == (epochs, passes)
    assert {entry.kind for entry in options.augmentation} == {
        Distortion.FLIP, Distortion.ROTATION, Distortion.GAMMA, Distortion.TRANSLATION, Distortion.CROP,
    }  # fmt: skip
