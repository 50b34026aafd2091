"""Trainings that are killed from the outside go on where they were and end like undisturbed ones."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from deepssim.cli import main
from tests.conftest import ROOT

SETTINGS = {
    "device": "cpu",
    "dataset": {
        "image_size": [24, 24],
        "virtual_patients": {"train_patients": 4, "valid_patients": 2, "holdout_patients": 0, "slices_mm": [20.0]},
    },
    "vae": {
        "channels": [8, 8, 16], "latent_channels": 2, "epochs": 8, "passes": 10, "adversarial_weight": 0.1,
        "discriminator_channels": 4, "perceptual": "gradient", "accumulate": 2, "pictures_every": 3,
    },
    "ldm": {
        "channels": [16, 32], "head_channels": 32, "epochs": 8, "passes": 20, "batch_size": 8, "ema_decay": 0.9,
        "conditioning": "variables", "condition_dropout": 0.1, "duplication": "low", "memorization": {"every": 3, "images": 4},
    },
}  # fmt: skip
WEIGHTS = {"vae": "autoencoder.safetensors", "ldm": "unet.safetensors"}


def start(section: str, results: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "deepssim.cli", f"train-{section}", "--results", str(results), "--threads", "1"]
    command += ["--config", str(results / "config.yaml")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def epochs_of(results: Path, section: str) -> int:
    """Return how many epochs the history of a run under way tells."""
    files = list((results / section / "state").glob("*/history.csv"))
    return sum(len(file.read_text().splitlines()) - 1 for file in files)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two copies of a data set, with an autoencoder trained in the first."""
    folders = []
    for name in ("whole", "cut"):
        results = tmp_path_factory.mktemp(name)
        (results / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
        main(["prepare-dataset", "--results", str(results), "--config", str(results / "config.yaml")])
        folders.append(results)
    return folders


@pytest.mark.parametrize("section", ["vae", "ldm"])
def test_killed_trainings_end_like_undisturbed_ones(prepared, section):
    """SIGKILL, then SIGTERM, in the middle of epochs; weights and history must be the same, byte for byte."""
    whole, cut = prepared
    run = start(section, whole)
    assert run.wait(300) == 0, run.stderr.read()
    for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
        run = start(section, cut)
        before = time.monotonic()
        while epochs_of(cut, section) < 2 + 2 * number:
            assert run.poll() is None, run.stderr.read()
            assert time.monotonic() - before < 200
            time.sleep(0.02)
        run.send_signal(how)
        run.wait(60)
        assert not (cut / section / WEIGHTS[section]).exists()
    saved = epochs_of(cut, section)
    run = start(section, cut)
    _, messages = run.communicate(timeout=300)
    assert run.returncode == 0, messages
    assert "continuing the training found in" in messages
    assert saved >= 3
    for name in (WEIGHTS[section], "history.csv"):
        assert (cut / section / name).read_bytes() == (whole / section / name).read_bytes()
    if section == "vae":  # what the other training needs, the same for both
        for results in prepared:
            main(["encode-latents", "--results", str(results), "--config", str(results / "config.yaml")])
