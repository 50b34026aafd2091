"""Provenance records: what each result was computed from, and whether result and inputs are unchanged.

The results folder has a folder `provenance` with one JSON file per result; HDF5 files also contain their record as a
dataset, so that it travels with them.

Not here: hashes (provenance.py), when records are written (jobs.py).
"""

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepssim.errors import DataError
from deepssim.runtime.provenance import checksum, fingerprint, versions

FOLDER = "provenance"
_DATASET = "provenance"  # an attribute could not exceed 64 KiB
_NO_RESULTS = ("logs", "benchmarks", FOLDER)  # folders without results, as are those named `state`
_SHOWN = 20  # problems listed in the message


@dataclass(frozen=True)
class Origin:
    """What results were computed from.

    Attributes:
        root: results folder of the run; None if the outputs do not belong to a run.
        stage: name of the rule or command.
        settings: plain settings that the stage depends on.
        inputs: files and folders that it read.
        seed: the config's seed.
        device: the config's device.
    """

    root: Path | None
    stage: str
    settings: Mapping[str, Any]
    inputs: tuple[Path, ...]
    seed: int
    device: str


def write_records(origin: Origin, outputs: Mapping[str, Path], written: Mapping[str, Path]) -> None:
    """Write a record for each result of a job, and also into the result where the format allows.

    Args:
        origin: what the results were computed from.
        outputs: final paths of the results, by name.
        written: their current temporary paths, by the same names.
    """
    inside: dict[str, str] = {}
    outside: dict[str, str] = {}
    for path in origin.inputs:
        if path.exists():
            place = inside if _is_inside(path, origin.root) else outside
            place[_name(path, origin.root)] = checksum(path)
    record = {
        "stage": origin.stage,
        "settings": origin.settings,
        "config_sha256": fingerprint(origin.settings),
        "seed": origin.seed,
        "device": _device_name(origin.device),
        "versions": versions(),
        "inputs_sha256": fingerprint(inside | outside),
    }
    for name, path in written.items():
        if outputs[name].suffix == ".h5":
            _write_inside(path, record)
        if origin.root is not None and _is_inside(outputs[name], origin.root):
            own = {"sha256": checksum(path), "inputs": inside, "sources": outside}
            _write_atomically(_record_file(origin.root, _name(outputs[name], origin.root)), record | own)


def verify(root: str | Path) -> tuple[int, list[str]]:
    """Recompute all hashes and compare them with the records.

    Args:
        root: results folder of a run.

    Returns:
        Number of results, and one sentence for each mismatch.

    Raises:
        DataError: if the folder holds no records.
    """
    place = Path(root)
    files = sorted((place / FOLDER).rglob("*.json"))
    if not files:
        raise DataError(f"{place}: has no folder {FOLDER!r} with records; name the results folder of a run")
    names = [file.relative_to(place / FOLDER).as_posix().removesuffix(".json") for file in files]
    known: dict[Path, str | None] = {}
    problems = [problem for name in names for problem in _check(place, name, known)]
    unknown = [name for name in _results(place) if not _has_record(name, set(names))]
    problems += [f"{place / name}: has no provenance record; it was not written by this workflow" for name in unknown]
    return len(names) + len(unknown), problems


def require_verified(root: str | Path) -> str:
    """Return a message that all results match their records.

    Raises:
        DataError: if some do not; the message lists them.
    """
    count, problems = verify(root)
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        listed = "\n  ".join(problems[:_SHOWN] + more)
        raise DataError(
            f"{root}: {len(problems)} problems in {count} results; remove the damaged or changed files and run "
            f"snakemake again:\n  {listed}"
        )
    return f"{root}: all {count} results match their records"


def _check(root: Path, name: str, known: dict[Path, str | None]) -> Iterator[str]:
    """Yield the problems of one result; `known` caches checksums, since most files are inputs of several results."""
    try:
        record = json.loads(_record_file(root, name).read_text(encoding="utf-8"))
        expected, inputs, sources = record["sha256"], record["inputs"].items(), record["sources"].items()
        settings_hold = fingerprint(record["settings"]) == record["config_sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield f"{_record_file(root, name)}: is not a valid record ({type(error).__name__}: {error})"
        return
    found = _cached_checksum(root / name, known)
    if found != expected:
        yield f"{root / name}: {'is missing' if found is None else 'has changed since it was written'}"
    if not settings_hold:
        yield f"{_record_file(root, name)}: the settings in it have changed"
    for kind, base, entries in (("", root, inputs), ("source ", root.resolve().parent, sources)):
        for path, value in entries:
            found = _cached_checksum(base / path, known)
            if found != value:
                state = "is missing" if found is None else "has changed since"
                yield f"{root / name}: was computed from {kind}{base / path}, which {state}"


def _cached_checksum(path: Path, known: dict[Path, str | None]) -> str | None:
    if path not in known:
        known[path] = checksum(path) if path.exists() else None
    return known[path]


def _results(root: Path) -> Iterator[str]:
    """Yield the files that should have a record."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and parts[0] not in _NO_RESULTS and "state" not in parts[:-1]:
            name = "/".join(parts)
            if name != "README.md":
                yield name


def _has_record(name: str, records: set[str]) -> bool:
    """Return whether a file, or a folder that it is in, has a record."""
    parts = name.split("/")
    return any("/".join(parts[:count]) in records for count in range(1, len(parts) + 1))


def _is_inside(path: Path, root: Path | None) -> bool:
    return root is not None and path.resolve().is_relative_to(root.resolve())


def _name(path: Path, root: Path | None) -> str:
    """Return a path relative to the results folder, or the path itself if it is outside."""
    if root is None or not _is_inside(path, root):
        return str(path)
    return path.resolve().relative_to(root.resolve()).as_posix()


def _record_file(root: Path, name: str) -> Path:
    return root / FOLDER / f"{name}.json"


def _write_inside(path: Path, record: Mapping[str, Any]) -> None:
    import h5py

    from deepssim.runtime.hdf5 import write_text

    with h5py.File(path, "r+") as file:
        if _DATASET in file:
            del file[_DATASET]
        write_text(file, _DATASET, json.dumps(record, sort_keys=True))


def _write_atomically(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    part.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(path)


def _device_name(setting: str) -> str:
    """Return the name of the GPU that torch uses, or the CPU architecture."""
    torch = sys.modules.get("torch")  # a stage that did not import it has not used a GPU
    if setting == "cpu" or torch is None or not torch.cuda.is_available():
        return f"cpu ({platform.machine()})"
    return torch.cuda.get_device_name()
