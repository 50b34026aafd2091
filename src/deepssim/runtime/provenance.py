"""Where a result comes from: hashes of settings and inputs, versions of the software.

Not here: seeds (seeds.py), the records that lie beside results (records.py).
"""

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deepssim.runtime.stage_versions import STAGE_VERSIONS

_PACKAGES = ("numpy", "scikit-image", "scikit-learn", "torch", "monai", "lightning", "transformers", "kornia")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    return {
        "deepssim": own_version(),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def own_version() -> str:
    """Return this package's version; `source` where only its folder is on the path, as in jobs with `--sdm conda`."""
    try:
        return version("deepssim")
    except PackageNotFoundError:
        return "source"


def fingerprint(settings: Any) -> str:
    """Return the SHA-256 of settings given as plain dicts, lists, strings and numbers."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def file_checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file, or of a folder's file names and their contents."""
    place = Path(path)
    if not place.is_dir():
        return file_checksum(place)
    files = sorted(file for file in place.rglob("*") if file.is_file())
    return fingerprint({file.relative_to(place).as_posix(): file_checksum(file) for file in files})


def state_folder(stage: str, output: str | Path, settings: Any, inputs: Iterable[str | Path]) -> Path:
    """Return the folder for the training state that belongs to an output.

    It is named by a hash of the stage's version, settings and input files, so nothing stale is ever resumed.

    Args:
        stage: name in `STAGE_VERSIONS`.
        output: file that the training makes; the state lies beside it.
        settings: all that decides the result, as plain values.
        inputs: files that the training reads.
    """
    version_of_stage = STAGE_VERSIONS[stage]
    checksums = [file_checksum(path) for path in inputs]
    name = fingerprint({"stage": stage, "version": version_of_stage, "settings": settings, "inputs": checksums})
    return Path(output).parent / "state" / name[:16]
