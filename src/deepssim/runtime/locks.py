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


def join_folder(folder: Path) -> None:
    """Say that Snakemake is at work in a folder, for as long as this process lives, and clear what dead ones left.

    Snakemake's own locks outlive a run that was killed and would stop the next one; they are removed if no process that
    called this is alive. Whether two that live may both run is Snakemake's to decide.

    Args:
        folder: Snakemake's folder in the working directory.
    """
    import fcntl

    folder.mkdir(exist_ok=True)
    alone = try_lock(folder / _RUN_LOCK)
    if alone is not None:
        for left in (folder / "locks").glob("*.lock"):
            left.unlink()
        fcntl.flock(alone, fcntl.LOCK_SH)
    _HELD.append(
        _wait(folder / _RUN_LOCK, "waiting for another Snakemake to start", shared=True) if alone is None else alone
    )


def wait_for_jobs(folder: Path) -> None:
    """Wait for jobs of a run that was killed and that still work, so that none writes a result after it was made anew."""
    os.close(_wait(folder / _JOBS_LOCK, "waiting for jobs of an earlier run that are still at work in this folder"))


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
