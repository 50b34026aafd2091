"""Reserve GPUs for each job on this machine.

Snakemake counts GPUs (`--resources gpu=4`) but does not assign them; without a reservation all jobs would use the first
one. Under Slurm and Kubernetes the scheduler assigns them.

Not here: the torch device (devices.py).
"""

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deepssim.errors import ConfigError
from deepssim.runtime.locks import try_lock

logger = logging.getLogger(__name__)

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_S = 0.5


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use: those in CUDA_VISIBLE_DEVICES, or all of the machine."""
    if _VISIBLE in os.environ:
        return [name for name in os.environ[_VISIBLE].split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return []  # no driver means no GPU; a config that requires one fails in devices.py
    return listed.stdout.split() if listed.returncode == 0 else []


@contextmanager
def reserve_gpus(count: int) -> Iterator[list[str]]:
    """Reserve `count` GPUs and make only these visible to torch; wait until enough are free.

    Call it before torch is imported. It does nothing if `count` is 0, on a machine without GPUs, or in a Slurm job.

    Raises:
        ConfigError: if the machine has fewer GPUs than requested.
    """
    names = visible_gpus() if count and "SLURM_JOB_ID" not in os.environ else []
    if not names:
        yield []
        return
    if count > len(names):
        raise ConfigError(f"this job needs {count} GPUs, but only {len(names)} are visible; lower `devices`")
    locks = _lock_gpus(names, count)
    before = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = ",".join(locks)
    try:
        yield list(locks)
    finally:
        if before is None:
            del os.environ[_VISIBLE]
        else:
            os.environ[_VISIBLE] = before
        for lock in locks.values():
            os.close(lock)


def _lock_gpus(names: Sequence[str], count: int) -> dict[str, int]:
    """Return the names of free GPUs with their locks: all `count` or none, to avoid a deadlock between two jobs."""
    announced = False
    while True:
        found: dict[str, int] = {}
        for name in names:
            lock = try_lock(_lock_file(name))
            if lock is not None:
                found[name] = lock
            if len(found) == count:
                return found
        for lock in found.values():
            os.close(lock)
        if not announced:
            logger.info("waiting until %d of %d GPUs are free", count, len(names))
            announced = True
        time.sleep(_POLL_S)


def _lock_file(name: str) -> Path:
    """Return the lock file of a GPU, the same for all users of this machine."""
    folder = Path(tempfile.gettempdir(), "deepssim-gpus")
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
    return folder / "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in name)
