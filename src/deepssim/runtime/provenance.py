"""Hashes of settings and inputs, and versions of the software.

Not here: seeds (seeds.py), the provenance records that are stored beside results (records.py).
"""

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from deepssim.runtime.stage_versions import STAGE_VERSIONS

_MARKER = ".snakemake_timestamp"  # Snakemake adds it to a folder that a job has written, after the job's record
_PACKAGES = ("numpy", "opencv-python-headless", "scikit-learn", "torch", "monai", "lightning", "transformers", "kornia")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results."""
    return {
        "deepssim": package_version(),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def package_version() -> str:
    """Return the version of deepssim; `source` where it is imported without being installed, as with `--sdm conda`."""
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
    """Return the SHA-256 of a file, or of the names and contents of all files in a folder, without Snakemake's marker."""
    place = Path(path)
    if not place.is_dir():
        return file_checksum(place)
    files = sorted(file for file in place.rglob("*") if file.name != _MARKER and file.is_file())
    return fingerprint({file.relative_to(place).as_posix(): file_checksum(file) for file in files})


def state_folder(stage: str, output: str | Path, settings: Any, inputs: Iterable[str | Path]) -> Path:
    """Return the folder for the training state of an output.

    Its name is a hash of the stage's version, settings and input files, so that outdated states are never resumed.

    Args:
        stage: name in `STAGE_VERSIONS`.
        output: file that the training writes; the state is stored beside it.
        settings: all settings that affect the result, as plain values.
        inputs: files that the training reads.
    """
    version_of_stage = STAGE_VERSIONS[stage]
    checksums = [file_checksum(path) for path in inputs]
    name = fingerprint({"stage": stage, "version": version_of_stage, "settings": settings, "inputs": checksums})
    return Path(output).parent / "state" / name[:16]
