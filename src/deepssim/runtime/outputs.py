"""Atomic outputs: they appear by rename, all or none.

Not here: the jobs that write them (jobs.py).
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_outputs(paths: Mapping[str, str | Path]) -> Iterator[dict[str, str]]:
    """Yield temporary paths to write to and rename them at the end; after an error, remove them and new folders.

    Args:
        paths: final files or folders by name.
    """
    final = {name: Path(path) for name, path in paths.items()}
    temporary = {name: path.with_name(f".part-{os.getpid()}-{path.name}") for name, path in final.items()}
    with used_folders(path.parent for path in final.values()):
        try:
            yield {name: str(path) for name, path in temporary.items()}
            for name, path in temporary.items():
                if final[name].is_dir():
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
