"""Distributed training: one process per GPU, on this machine or, in a Slurm job, on several.

The program starts itself once per process; these train and exit, and the original program continues with the checkpoint.
`torchrun` is not needed: the processes find each other by environment variables.

Not here: the training (training/driver.py).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import NoReturn

from deepssim.errors import ConfigError, DeepssimError

_WORKER = "DEEPSSIM_TRAINING_PROCESS"
_POLL_S = 0.2
_PATIENCE_S = 10.0  # between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Processes:
    """Number of processes that train together.

    Attributes:
        devices: GPUs per machine; without a GPU, processes on the CPU.
        nodes: number of machines.
    """

    devices: int = 1
    nodes: int = 1

    @property
    def count(self) -> int:
        """Total number of processes."""
        return self.devices * self.nodes


def is_worker() -> bool:
    """Return whether this process was started by `train_together`."""
    return _WORKER in os.environ


def is_first_worker() -> bool:
    """Return whether this is the training process of rank 0, which writes the log."""
    return is_worker() and os.environ.get("SLURM_PROCID" if in_slurm() else "RANK") == "0"


def end_worker() -> NoReturn:
    """End this process, which has trained with others, as a success.

    It leaves the group first: threads of a group that still exists when a program ends abort it in rare cases
    (pytorch/pytorch#190489), and a training that has succeeded would count as failed.
    """
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    raise SystemExit(0)


def in_slurm() -> bool:
    """Return whether this is a Slurm job."""
    return "SLURM_JOB_ID" in os.environ and shutil.which("srun") is not None


def train_together(processes: Processes, keep_open: int) -> None:
    """Start this program once per process and wait until all have trained.

    Args:
        processes: number of processes.
        keep_open: file descriptor for the processes to inherit, the lock of their state folder.

    Raises:
        ConfigError: if several machines are requested outside of Slurm.
        DeepssimError: if one of the processes fails; its own message is on the terminal and in the log.
    """
    if processes.nodes > 1 and not in_slurm():
        raise ConfigError(f"nodes is {processes.nodes}, but this is not a Slurm job; set nodes to 1")
    started = _start_with_srun(processes) if in_slurm() else _start_locally(processes, keep_open)
    try:
        _wait(started)
    finally:
        _stop(started)


def _program() -> list[str]:
    """Return the command that this process was started with."""
    return [sys.executable, *sys.orig_argv[1:]]


def _start_with_srun(processes: Processes) -> list[subprocess.Popen]:
    options = [f"--nodes={processes.nodes}", f"--ntasks={processes.count}", f"--ntasks-per-node={processes.devices}"]
    if "SLURM_CPUS_PER_TASK" in os.environ:
        options.append(f"--cpus-per-task={os.environ['SLURM_CPUS_PER_TASK']}")
    if "SLURM_GPUS" in os.environ:
        options.append("--gpu-bind=none")  # each process sees all GPUs of its machine and uses one
    return [
        subprocess.Popen(
            ["srun", "--kill-on-bad-exit=1", "--overlap", *options, *_program()], env=os.environ | {_WORKER: "1"}
        )
    ]


def _start_locally(processes: Processes, keep_open: int) -> list[subprocess.Popen]:
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
    """Wait until all processes have succeeded or one has failed, for which the others would wait for ever."""
    while any(process.poll() is None for process in started):
        _require_success(started)
        time.sleep(_POLL_S)
    _require_success(started)


def _require_success(started: list[subprocess.Popen]) -> None:
    failed = [rank for rank, process in enumerate(started) if process.poll()]
    if failed:
        code = started[failed[0]].returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        raise DeepssimError(
            f"training process {failed[0]} of {len(started)} ended with {how}, see the message above; rerun the "
            "same command to continue from the last epoch"
        )


def _stop(started: list[subprocess.Popen]) -> None:
    for process in started:
        if process.poll() is None:
            process.terminate()
    for process in started:
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
