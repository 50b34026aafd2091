"""Processes that train together learn what one does, and none is left when one fails or all are killed."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from deepssim.errors import ConfigError
from deepssim.runtime.processes import Processes, train_together
from tests.conftest import ROOT

PROGRAM = """
import os, sys, time
from pathlib import Path
import lightning.pytorch as lightning
import torch
from deepssim.config.choices import Decay, Device, Keep
from deepssim.config.training import TrainingConfig
from deepssim.runtime.messages import log_to, short_errors
from deepssim.runtime.processes import Processes
from deepssim.training.driver import Batched, train

class Line(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Linear(3, 2)

    def training_step(self, batch, batch_idx):
        if "fail" in sys.argv and self.trainer.global_rank == 1:
            os._exit(3)
        while "wait" in sys.argv and self.trainer.current_epoch == 2 and not (folder / "go").exists():
            time.sleep(0.02)
        loss = ((self.network(batch[0]) - batch[1]) ** 2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)

count, folder = int(sys.argv[1]), Path(sys.argv[2])
data = Batched(torch.linspace(-1, 1, 36).reshape(12, 3), torch.linspace(0, 1, 24).reshape(12, 2))
options = TrainingConfig(epochs=int(sys.argv[3]), batch_size=6, keep=Keep.LAST, decay=Decay.CONSTANT)
with log_to(folder / "log.txt"), short_errors():
    trained = train(Line(), data, None, options=options, seed=1, device=Device.CPU, state=folder / "state",
                    processes=Processes(count))
    torch.save(trained.module.state_dict(), folder / "weights.pt")
    trained.write_history(folder / "history.csv")
"""


def start(tmp_path, name, count, *more, epochs=4):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "program.py"), str(count), str(folder), str(epochs), *more]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True), folder


def test_two_processes_learn_what_one_does(tmp_path):
    """The gradient of a batch is the mean of those of its halves, so only rounding differs."""
    outcomes = []
    for name, count in (("one", 1), ("two", 2)):
        run, folder = start(tmp_path, name, count)
        _, messages = run.communicate(timeout=240)
        assert run.returncode == 0, messages
        outcomes.append((torch.load(folder / "weights.pt"), (folder / "history.csv").read_text().splitlines()))
    torch.testing.assert_close(outcomes[0][0], outcomes[1][0], rtol=1e-4, atol=1e-6)
    for one, two in zip(*(history[1:] for _, history in outcomes), strict=True):
        assert [float(x) for x in one.split(",")] == pytest.approx([float(x) for x in two.split(",")], rel=1e-4)
    log = (tmp_path / "two" / "log.txt").read_text()
    assert len(re.findall("epoch 4 of 4", log)) == 1  # one of the two speaks


def test_a_process_that_fails_ends_the_others_with_one_sentence(tmp_path):
    run, folder = start(tmp_path, "x", 2, "fail")
    _, messages = run.communicate(timeout=240)
    assert run.returncode == 1
    assert "training process 1 of 2 ended with code 3" in messages
    assert not (folder / "weights.pt").exists()
    assert not processes_of(folder)


def test_a_killed_training_of_several_goes_on_when_its_processes_have_ended(tmp_path):
    """The processes outlive the program that was killed; the next one waits for them, and then nothing is left to do."""
    run, folder = start(tmp_path, "x", 2, "wait")
    state, log = folder / "state", folder / "log.txt"
    until((state / "last.ckpt").exists, run)
    run.send_signal(signal.SIGKILL)
    run.wait()
    log.unlink()
    again, _ = start(tmp_path, "x", 2, "wait")
    until(lambda: log.exists() and str(state) in log.read_text(), again)  # it says what it waits for
    assert len(processes_of(folder)) == 3
    (folder / "go").touch()
    _, messages = again.communicate(timeout=240)
    assert again.returncode == 0, messages
    assert (folder / "history.csv").read_text() == (state / "history.csv").read_text()
    assert len((folder / "history.csv").read_text().splitlines()) == 5
    assert not processes_of(folder)


def until(ready, run, seconds=120):
    end = time.monotonic() + seconds
    while not ready():
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def processes_of(folder):
    """Return the processes that have a folder in their command."""
    return [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])]


def test_several_machines_need_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(ConfigError, match="nodes is 2, but this is not a Slurm job"):
        train_together(Processes(1, 2), -1)
