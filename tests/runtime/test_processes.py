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
from tests.runtime import program


def start(folder, count, *more):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, program.__file__, str(count), str(folder), *more]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def outcome(folder):
    rows = (folder / "history.csv").read_text().splitlines()[1:]
    return torch.load(folder / "weights.pt"), [[float(x) for x in row.split(",")] for row in rows]


@pytest.mark.faults
def test_a_training_of_two_outlives_its_program_and_learns_what_one_does(tmp_path):
    """The next program waits for the processes of the one that was killed, and then nothing is left to do.

    The gradient of a batch is the mean of those of its halves, so only rounding differs from the training of one.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    program.main(1, one)
    run = start(two, 2, "wait")
    end = time.monotonic() + 120
    while not (two / "state" / "last.ckpt").exists():
        assert run.poll() is None, run.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    again = start(two, 2, "wait")
    assert str(two / "state") in again.stderr.readline()  # it says what it waits for
    assert len(processes_of(two)) == 3
    (two / "go").touch()
    _, messages = again.communicate(timeout=240)
    assert again.returncode == 0, messages
    (weights, history), (expected_weights, expected_history) = outcome(two), outcome(one)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-6)
    assert len(history) == program.EPOCHS
    for row, expected in zip(history, expected_history, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    log = (two / "log.txt").read_text()
    assert len(re.findall("epoch 4 of 4", log)) == 1  # one of the two speaks
    assert not processes_of(two)
    assert not list(two.glob("group of *"))  # threads of a group that exists at the end can abort a process


@pytest.mark.faults
def test_a_process_that_fails_ends_the_others_with_one_sentence(tmp_path):
    run = start(tmp_path, 2, "fail")
    _, messages = run.communicate(timeout=240)
    assert run.returncode == 1
    assert "training process 1 of 2 ended with code 3" in messages
    assert not (tmp_path / "weights.pt").exists()
    assert not processes_of(tmp_path)


def processes_of(folder):
    """Return the processes that have a folder in their command."""
    return [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])]


def test_several_machines_need_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(ConfigError, match="nodes is 2, but this is not a Slurm job"):
        train_together(Processes(1, 2), -1)
