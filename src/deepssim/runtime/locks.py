"""Locks between processes: one run in a folder, one training in a state folder, one job on a GPU.

The kernel releases a lock when its process ends for any reason, so stale locks cannot remain. On a file system that does
not support locks, a warning is logged and no lock is taken.

Not here: choosing GPUs (gpus.py).
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepssim.errors import DataError
from deepssim.runtime.outputs import used_folders

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_RUN_LOCK, _JOBS_LOCK = "deepssim-run.lock", "deepssim-jobs.lock"
_HELD: list[int] = []  # for as long as this process lives


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file without waiting; the file is created if it does not exist.

    Args:
        path: file to lock; its folder must exist.
        shared: take a shared lock, which several processes can hold at once.

    Returns:
        A file descriptor; the lock is released when all processes that inherited it have closed it or ended. None if
        another process holds the lock.
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
def hold_lock(path: Path, waiting: str) -> Iterator[int]:
    """Hold a lock while the block runs; wait for it if another process holds it.

    Args:
        path: file to lock.
        waiting: message that is logged once if the lock is not free.
    """
    place = _wait(path, waiting)
    try:
        yield place
    finally:
        os.close(place)


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Create a folder that no other process uses in this way while the block runs; if it is left empty, remove it.

    Args:
        folder: folder of the results of one command, which is locked itself, so that no file of the lock is left.

    Raises:
        DataError: if another process uses it.
    """
    with used_folders([folder]):
        place = try_lock(folder.resolve())
        if place is None:
            raise DataError(
                f"{folder}: another process is writing its results there; wait for it, or name another folder"
            )
        try:
            yield
        finally:
            os.close(place)


def _wait(path: Path, waiting: str, *, shared: bool = False) -> int:
    announced = False
    while (place := try_lock(path, shared=shared)) is None:
        if not announced:
            logger.warning("%s", waiting)
            announced = True
        time.sleep(_POLL_S)
    return place


def register_run(folder: Path) -> None:
    """Register this process as a Snakemake run in a folder until it ends, and remove stale locks of runs that were killed.

    Snakemake's own locks outlive a run that was killed and would block the next one; they are removed if no registered run
    is alive. Whether two live runs may work at the same time is left to Snakemake.

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
    """Wait for running jobs of a run that was killed, so that they do not overwrite results of this run."""
    os.close(_wait(folder / _JOBS_LOCK, "waiting for jobs of an earlier run that are still running in this folder"))


@contextmanager
def job_in_run(folder: Path) -> Iterator[None]:
    """Mark a job as running, so that a later run waits for it even if the job's own run was killed."""
    if not folder.is_dir():  # the script is run without Snakemake
        yield
        return
    place = _wait(folder / _JOBS_LOCK, "waiting for another run to start", shared=True)
    try:
        yield
    finally:
        os.close(place)
