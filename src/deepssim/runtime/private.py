"""Who may read what is written: the user's cache is for its owner only, results are for all that the umask allows.

Not here: what is cached (audit/cache.py), outputs that appear whole or not at all (outputs.py).
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepssim.errors import DataError

logger = logging.getLogger(__name__)

VARIABLE = "DEEPSSIM_CACHE"  # names another folder than ~/.cache/deepssim
_OTHERS = 0o077  # permissions of group and others
_ALL = 0o666  # of a new file, of which the umask takes some away


@contextmanager
def owner_only() -> Iterator[None]:
    """Create files (0600) and folders (0700) that only their owner can read while the block runs, whatever the umask.

    The umask is that of the whole process: no other thread may write results meanwhile.
    """
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def obey_umask(path: str | Path) -> None:
    """Give a file the permissions of any new file, 0666 without those of the umask; safetensors writes 0600."""
    umask = os.umask(_OTHERS)
    os.umask(umask)
    Path(path).chmod(_ALL & ~umask)


def close_to_others(folder: Path) -> None:
    """Take the permissions of group and others from a folder of this user and all that is in it.

    Args:
        folder: folder, which need not exist.
    """
    for path in (folder, *folder.rglob("*")) if folder.is_dir() else ():
        if path.is_symlink():
            continue
        found = path.stat()
        if found.st_mode & _OTHERS and found.st_uid == os.getuid():
            path.chmod(found.st_mode & ~_OTHERS & 0o7777)


def user_cache(kind: str) -> Path:
    """Return the folder in which this user's cache of one kind lies: below `DEEPSSIM_CACHE`, or else where the system has caches.

    Args:
        kind: of content, a subfolder.
    """
    import platformdirs

    named = os.environ.get(VARIABLE)
    return (Path(named) if named else platformdirs.user_cache_path("deepssim", appauthor=False)) / kind


@contextmanager
def cache_folder(kind: str, chosen: str | Path | None) -> Iterator[Path]:
    """Yield a folder for a cache that only its owner can read.

    Args:
        kind: of content, a subfolder of the user's cache.
        chosen: folder that the user named, instead of the user's cache.

    Raises:
        DataError: if the folder that the user named cannot be written. In place of the user's cache, a temporary folder is
            taken, which is removed at the end.
    """
    place = user_cache(kind) if chosen is None else Path(chosen)
    reason = _not_writable(place)
    if reason is None:
        yield place
    elif chosen is not None:
        raise DataError(f"{place}: cannot be written ({reason}); name another folder with --cache")
    else:
        logger.warning(
            "%s: the cache cannot be written (%s), so that nothing is kept for the next audit; name a folder with --cache",
            place, reason,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="deepssim-") as folder:  # readable by its owner only
            yield Path(folder)


def _not_writable(place: Path) -> str | None:
    """Create a folder for its owner and return why it cannot be written, or None."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__
