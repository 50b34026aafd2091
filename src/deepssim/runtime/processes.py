"""Processes that train together: one per GPU, on this machine or, in a job of Slurm, on several.

The program that wants to train starts itself once per process; each of those trains and ends, and the first program
goes on with the checkpoint. It needs no `torchrun`: the processes find each other by what is in their environment.

Not here: the training (training.py).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from deepssim.errors import ConfigError, DeepssimError

_WORKER = "DEEPSSIM_TRAINING_PROCESS"
_POLL_S = 0.2
_PATIENCE_S = 10.0  # until a process that was asked to end is ended


@dataclass(frozen=True)
class Processes:
    """How many processes train together.

    Attributes:
        devices: per machine; GPUs or, without GPU, processes on the processor.
        nodes: machines.
    """

    devices: int = 1
    nodes: int = 1

    @property
    def count(self) -> int:
        """All of them."""
        return self.devices * self.nodes


def is_worker() -> bool:
    """Return whether this process was started to train together with others."""
    return _WORKER in os.environ


def is_first_worker() -> bool:
    """Return whether this is the one of the training processes that speaks for all."""
    return is_worker() and os.environ.get("SLURM_PROCID" if in_slurm() else "RANK") == "0"


def in_slurm() -> bool:
    """Return whether this is a job of Slurm."""
    return "SLURM_JOB_ID" in os.environ and shutil.which("srun") is not None


def train_together(processes: Processes, keep_open: int) -> None:
    """Start this program once per process and wait until all have trained.

    Args:
        processes: how many.
        keep_open: a descriptor that the processes inherit: the lock of their state folder.

    Raises:
        ConfigError: if several machines are asked for outside of Slurm.
        DeepssimError: if one of the processes fails; its message is on the terminal and in the log.
    """
    if processes.nodes > 1 and not in_slurm():
        raise ConfigError(f"nodes is {processes.nodes}, but this is not a job of Slurm; set nodes to 1")
    started = _by_srun(processes) if in_slurm() else _by_hand(processes, keep_open)
    try:
        _wait(started)
    finally:
        _end(started)


def _program() -> list[str]:
    """Return the command that this process was started with."""
    return [sys.executable, *sys.orig_argv[1:]]


def _by_srun(processes: Processes) -> list[subprocess.Popen]:
    options = [f"--nodes={processes.nodes}", f"--ntasks={processes.count}", f"--ntasks-per-node={processes.devices}"]
    if "SLURM_CPUS_PER_TASK" in os.environ:
        options.append(f"--cpus-per-task={os.environ['SLURM_CPUS_PER_TASK']}")
    if "SLURM_GPUS" in os.environ:
        options.append("--gpu-bind=none")  # every process sees all GPUs of its machine and takes one
    return [
        subprocess.Popen(
            ["srun", "--kill-on-bad-exit=1", "--overlap", *options, *_program()], env=os.environ | {_WORKER: "1"}
        )
    ]


def _by_hand(processes: Processes, keep_open: int) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {_WORKER: "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    shared["WORLD_SIZE"] = str(processes.count)
    return [
        subprocess.Popen(
            _program(),
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            pass_fds=(keep_open,),
        )
        for rank in range(processes.count)
    ]


def _wait(started: list[subprocess.Popen]) -> None:
    """Wait until all have ended well or one has not: the others would wait for it for ever."""
    while any(process.poll() is None for process in started):
        _require_well(started)
        time.sleep(_POLL_S)
    _require_well(started)


def _require_well(started: list[subprocess.Popen]) -> None:
    failed = [rank for rank, process in enumerate(started) if process.poll()]
    if failed:
        code = started[failed[0]].returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        raise DeepssimError(
            f"training process {failed[0]} of {len(started)} ended with {how}, see the message before; the same command "
            "goes on from the last epoch"
        )


def _end(started: list[subprocess.Popen]) -> None:
    for process in started:
        if process.poll() is None:
            process.terminate()
    for process in started:
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
