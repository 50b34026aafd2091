"""A signal ends a command by one sentence and its code, after its files and processes were cleaned up."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

PROGRAM = """
import os, sys, time
from pathlib import Path
from deepssim.runtime.interrupts import exit_on_signals
from deepssim.runtime.messages import log_to, short_errors
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.processes import Processes, is_worker, train_together

folder = Path(sys.argv[1])
with log_to(None), exit_on_signals(), short_errors():
    if is_worker():
        (folder / f"worker-{os.getpid()}").touch()
        time.sleep(600)
    with atomic_outputs({"result": folder / "new" / "result"}) as outputs:
        Path(outputs["result"]).touch()
        if sys.argv[2] == "workers":
            with open(os.devnull) as lock:
                train_together(Processes(devices=2), lock.fileno())
        print("at work", flush=True)
        time.sleep(600)
"""


def start(tmp_path, kind, *, before=None):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.Popen(
        [sys.executable, str(program), str(tmp_path), kind], env=environment | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code", "first"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")]
)
def test_a_signal_ends_with_one_sentence_and_without_half_files(tmp_path, number, code, first):
    process = start(tmp_path, "alone")
    assert process.stdout.readline() == "at work\n"
    process.send_signal(number)
    process.send_signal(number)  # an impatient second one, while files are removed
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    (line,) = error.splitlines()
    assert line.partition(" ERROR ")[2] == (
        f"{first}; incomplete results were removed, and the same command continues from what is finished"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_training_processes_end_with_their_program(tmp_path, number):
    process = start(tmp_path, "workers")
    end = time.monotonic() + 120
    while len(found := list(tmp_path.glob("worker-*"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    workers = [int(path.name.removeprefix("worker-")) for path in found]
    assert all(map(alive, workers))
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert len(error.splitlines()) == 1
    assert not any(map(alive, workers))


def test_a_signal_that_is_ignored_from_the_start_stays_so(tmp_path):
    """As under `nohup` or in the background of a shell script."""
    process = start(tmp_path, "alone", before=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
