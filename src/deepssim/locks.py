"""Locks between processes: one run in a folder, one training in a state folder, one job on a GPU.

The kernel holds them and lets go when their process dies, however it dies, so nothing has to be cleaned up. On a file
system without locks they are left out, with a warning.

Not here: which GPUs there are (gpus.py).
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepssim.errors import ConfigError

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_RUN_LOCK, _JOBS_LOCK = "deepssim-run.lock", "deepssim-jobs.lock"
_HELD: list[int] = []  # for as long as this process lives


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file, which is made if it is not there.

    Args:
        path: file to lock; its folder must exist.
        shared: allow others that ask for a shared lock, too.

    Returns:
        A descriptor; the lock ends when all processes that have it closed it or died. None if another process has the
        lock.
    """
    import fcntl  # not on Windows

    try:
        place = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # another user's file cannot always be opened with O_CREAT
    except FileNotFoundError:
        place = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(place, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(place)
        return None
    except OSError as error:
        logger.warning("%s: this file system has no locks (%s); do not start two runs in one folder", path, error)
    return place


@contextmanager
def held(path: Path, waiting: str) -> Iterator[int]:
    """Hold a lock while the block runs; log `waiting` once if another process has it, and wait for that one to end."""
    place = _wait(path, waiting)
    try:
        yield place
    finally:
        os.close(place)


def _wait(path: Path, waiting: str, *, shared: bool = False) -> int:
    told = False
    while (place := try_lock(path, shared=shared)) is None:
        if not told:
            logger.warning("%s", waiting)
            told = True
        time.sleep(_POLL_S)
    return place


def begin_run(folder: Path) -> None:
    """Make this process the one run in a folder, for as long as it lives.

    A run that was killed leaves Snakemake's own locks, which would stop the next one, and perhaps jobs that still work:
    these are waited for, so that none of an older config writes a result after it was made anew.

    Args:
        folder: Snakemake's folder in the working directory.

    Raises:
        ConfigError: if another run is at work there.
    """
    folder.mkdir(exist_ok=True)
    place = try_lock(folder / _RUN_LOCK)
    if place is None:
        raise ConfigError(
            f"another run is at work in {folder.resolve().parent}; wait until it ends, or name another folder with --directory"
        )
    _HELD.append(place)
    os.close(_wait(folder / _JOBS_LOCK, "waiting for jobs of an earlier run that are still at work in this folder"))
    for left in (folder / "locks").glob("*.lock"):
        left.unlink()


@contextmanager
def job_in_run(folder: Path) -> Iterator[None]:
    """Let a later run know that a job is at work, even if its own run was killed."""
    if not folder.is_dir():  # the script runs without Snakemake
        yield
        return
    place = _wait(folder / _JOBS_LOCK, "waiting for another run to begin", shared=True)
    try:
        yield
    finally:
        os.close(place)
