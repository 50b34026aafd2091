"""Trainings that are killed from the outside go on where they were and end like undisturbed ones."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.faults import repeated_epochs
from tests.conftest import ROOT
from tests.stages.jobs import run_rule
from tests.workflow.test_paper_configs import STAGES

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


JOB = """
import json, sys
from pathlib import Path
from tests.stages.jobs import run_rule
run_rule(Path(sys.argv[1]), **json.loads(sys.argv[2]))
"""


def job_of(rule):
    settings, inputs, outputs = STAGES[rule]
    return {"rule": rule, "config": SETTINGS, "settings": settings, "inputs": inputs, "outputs": outputs}


def start(section: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOB, str(folder), json.dumps(job_of(f"train_{section}"))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def epochs_of(folder: Path, section: str) -> int:
    """Return how many epochs the history of a run under way tells."""
    files = list((folder / "results" / section / "state").glob("*/history.csv"))
    return sum(len(file.read_text().splitlines()) - 1 for file in files)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two copies of a data set, with an autoencoder trained in the first."""
    folders = []
    for name in ("whole", "cut"):
        folders.append(tmp_path_factory.mktemp(name))
        run_rule(folders[-1], **job_of("prepare_dataset"))
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
        assert not (cut / "results" / section / WEIGHTS[section]).exists()
    saved = epochs_of(cut, section)
    run = start(section, cut)
    _, messages = run.communicate(timeout=300)
    assert run.returncode == 0, messages
    assert saved >= 3
    assert repeated_epochs(cut)[section] == 0  # it went on where it was
    for name in (WEIGHTS[section], "history.csv"):
        assert (cut / "results" / section / name).read_bytes() == (whole / "results" / section / name).read_bytes()
    if section == "vae":  # what the other training needs, the same for both
        for folder in prepared:
            run_rule(folder, **job_of("encode_latents"))
