"""Atomic outputs: they appear by rename, all or none.

Not here: the jobs that write them (jobs.py).
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deepssim.errors import ConfigError


@contextmanager
def atomic_outputs(paths: Mapping[str, str | Path]) -> Iterator[dict[str, str]]:
    """Yield temporary paths to write to and rename them at the end; after an error, remove them and new folders.

    Args:
        paths: final files or folders by name.

    Raises:
        ConfigError: if a folder is where a file is to be written.
    """
    final = {name: Path(path) for name, path in paths.items()}
    temporary = {name: path.with_name(f".part-{os.getpid()}-{path.name}") for name, path in final.items()}
    with used_folders(path.parent for path in final.values()):
        try:
            yield {name: str(path) for name, path in temporary.items()}
            for name, path in temporary.items():
                if final[name].is_dir():
                    if path.is_file():  # a folder named by mistake, with files that nobody offered
                        raise ConfigError(f"{final[name]}: is a folder; name a file to write")
                    shutil.rmtree(final[name])
                path.replace(final[name])
        finally:
            for path in temporary.values():
                remove_path(path)


@contextmanager
def used_folders(folders: Iterable[Path]) -> Iterator[None]:
    """Create folders, and remove at the end those that are new and empty.

    Args:
        folders: with their parents.
    """
    wanted = list(folders)
    new = {place for folder in wanted for place in (folder, *folder.parents) if not place.exists()}
    for folder in wanted:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in sorted(new, key=lambda folder: len(folder.parts), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def require_writable(folder: str | Path, option: str) -> None:
    """Check, before hours of computing, that files can be written to a folder, which need not exist yet.

    Args:
        folder: folder for outputs.
        option: what names it, for messages.

    Raises:
        ConfigError: if it is a file, lies below one, or may not be written to.
    """
    existing = next(path for path in (Path(folder), *Path(folder).absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(f"{option} is {str(folder)!r}, but {existing} is a file; name a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{option} is {str(folder)!r}, but {existing} cannot be written to; change its permissions or name another folder"
        )


def remove_leftovers(final: Mapping[str, str | Path], outputs: Mapping[str, str]) -> None:
    """Remove temporary outputs of an earlier attempt that was killed; no other process may write the same outputs.

    Args:
        final, outputs: final and temporary paths by name, see `atomic_outputs`.
    """
    for name, path in final.items():
        for left in Path(path).parent.glob(f".part-*-{Path(path).name}"):
            if left != Path(outputs[name]):
                remove_path(left)


def remove_path(path: Path) -> None:
    """Remove a file, or a folder with its contents, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
