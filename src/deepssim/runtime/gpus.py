"""Give every job on this machine GPUs of its own.

Snakemake counts GPUs (`--resources gpu=4`) but does not say which; without a choice all jobs would take the first.

Not here: what torch makes of them (devices.py). Under Slurm and Kubernetes the scheduler has chosen.
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
    """Return the names of the GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, or all."""
    if _VISIBLE in os.environ:
        return [name for name in os.environ[_VISIBLE].split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return []  # no driver, no GPU; a config that insists on one fails in devices.py
    return listed.stdout.split() if listed.returncode == 0 else []


@contextmanager
def own_gpus(count: int) -> Iterator[list[str]]:
    """Hold `count` GPUs that no other job holds, and let torch see just those; wait until so many are free.

    Call it before torch is imported. Nothing is done for no GPU, on a machine without, and in a job of Slurm.

    Raises:
        ConfigError: if there are fewer GPUs than asked for.
    """
    names = visible_gpus() if count and "SLURM_JOB_ID" not in os.environ else []
    if not names:
        yield []
        return
    if count > len(names):
        raise ConfigError(f"this job needs {count} GPUs, but only {len(names)} are visible; lower `devices`")
    places = _claim(names, count)
    before = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = ",".join(places)
    try:
        yield list(places)
    finally:
        if before is None:
            del os.environ[_VISIBLE]
        else:
            os.environ[_VISIBLE] = before
        for place in places.values():
            os.close(place)


def _claim(names: Sequence[str], count: int) -> dict[str, int]:
    """Return the names of free GPUs with their locks; all or none, or two jobs could wait for each other."""
    told = False
    while True:
        found: dict[str, int] = {}
        for name in names:
            place = try_lock(_lock_file(name))
            if place is not None:
                found[name] = place
            if len(found) == count:
                return found
        for place in found.values():
            os.close(place)
        if not told:
            logger.info("waiting for %d free of %d GPUs", count, len(names))
            told = True
        time.sleep(_POLL_S)


def _lock_file(name: str) -> Path:
    """Return the file that stands for a GPU, the same for all users of this machine."""
    folder = Path(tempfile.gettempdir(), "deepssim-gpus")
    if not folder.exists():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
    return folder / "".join(letter if letter.isalnum() or letter == "-" else "_" for letter in name)
