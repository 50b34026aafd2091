"""Provenance records: what each result was computed from, and whether result and inputs are unchanged.

The results folder of a workflow, or the folder of an audit's report, has a folder `provenance` with one JSON file per
result; HDF5 files also contain their record as a dataset, so that it travels with them.

Not here: hashes (provenance.py), when records are written (jobs.py).
"""

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepssim.errors import DataError
from deepssim.runtime.provenance import checksum, fingerprint, versions

FOLDER = "provenance"
_DATASET = "provenance"  # an attribute could not exceed 64 KiB
_NO_RESULTS = ("logs", "benchmarks", "cache", FOLDER)  # folders without results, as are those named `state`
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
        unnamed: further inputs, by a name that stands for their path: a de-identified record has only their checksums.
        workflow: whether a workflow wrote the results; in the folder of a command, other files can lie as well.
    """

    root: Path | None
    stage: str
    settings: Mapping[str, Any]
    inputs: tuple[Path, ...]
    seed: int
    device: str
    unnamed: Mapping[str, Path] = field(default_factory=dict)
    workflow: bool = True


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        results: number of results.
        problems: one sentence for each mismatch.
        absent: inputs of a command that are not on this machine and could not be compared.
        workflow: whether a workflow wrote the results.
    """

    results: int
    problems: list[str]
    absent: list[Path]
    workflow: bool


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
    unnamed = {name: checksum(path) for name, path in origin.unnamed.items()}
    for name, path in written.items():
        if outputs[name].suffix == ".h5":
            _write_inside(path, record)
        if origin.root is not None and _is_inside(outputs[name], origin.root):
            own = {"sha256": checksum(path), "inputs": inside, "sources": outside, "workflow": origin.workflow}
            own |= {"unnamed_sources": unnamed} if unnamed else {}
            _write_atomically(_record_file(origin.root, _name(outputs[name], origin.root)), record | own)


def discard(root: str | Path, name: str) -> None:
    """Remove an output and its record, if it has one; files that nobody recorded stay.

    Args:
        root: folder of the results.
        name: of the output, relative to it.
    """
    record = _record_file(Path(root), name)
    if record.exists():
        (Path(root) / name).unlink(missing_ok=True)
        record.unlink()


def verify(root: str | Path) -> Verification:
    """Recompute all hashes and compare them with the records.

    Args:
        root: results folder of a workflow, or folder of an audit's report.

    Raises:
        DataError: if the folder holds no records.
    """
    place = Path(root)
    files = sorted((place / FOLDER).rglob("*.json"))
    if not files:
        raise DataError(
            f"{place}: has no folder {FOLDER!r} with records; name the results folder of a workflow, or the folder of an "
            "audit's report"
        )
    names = [file.relative_to(place / FOLDER).as_posix().removesuffix(".json") for file in files]
    known: dict[Path, str | None] = {}
    absent: dict[Path, None] = {}
    records = {name: _read_record(place, name) for name in names}
    problems = [problem for name, record in records.items() for problem in _check(place, name, record, known, absent)]
    writers = {record["workflow"] for record in records.values() if isinstance(record, dict)}
    workflow = writers != {False}
    unknown = [name for name in _results(place) if not _has_record(name, set(names))] if workflow else []
    problems += [f"{place / name}: has no provenance record; it was not written by this workflow" for name in unknown]
    return Verification(len(names) + len(unknown), problems, list(absent), workflow)


def stage_of(root: str | Path, name: str) -> str | None:
    """Return the stage that wrote a result, None if it has no record or a damaged one.

    Args:
        root: folder of the results.
        name: path of the result in it.
    """
    record = _read_record(Path(root), name)
    return None if isinstance(record, str) else record["stage"]


def require_verified(root: str | Path) -> str:
    """Return a message that all results match their records.

    Raises:
        DataError: if some do not; the message lists them.
    """
    found = verify(root)
    if found.problems:
        more = [f"and {len(found.problems) - _SHOWN} more"] if len(found.problems) > _SHOWN else []
        listed = "\n  ".join(found.problems[:_SHOWN] + more)
        advice = (
            "remove the damaged or changed files and run snakemake again"
            if found.workflow
            else "restore what has changed, or repeat the audit"
        )
        raise DataError(f"{root}: {len(found.problems)} problems in {found.results} results; {advice}:\n  {listed}")
    message = f"{root}: all {found.results} results match their records"
    if not found.absent:
        return message
    return f"{message}; {len(found.absent)} inputs are not here and were not compared, first {found.absent[0]}"


def _read_record(root: Path, name: str) -> dict[str, Any] | str:
    """Return the record of a result, or one sentence if it is damaged."""
    file = _record_file(root, name)
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        unchanged = fingerprint(record["settings"]) == record["config_sha256"]
        return {
            "stage": str(record["stage"]),
            "sha256": record["sha256"],
            "settings_unchanged": unchanged,
            "inputs": dict(record["inputs"]),
            "sources": dict(record["sources"]),
            "workflow": bool(record.get("workflow", True)),  # records of older versions do not say
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{file}: is not a valid record ({type(error).__name__}: {error})"


def _check(
    root: Path, name: str, record: dict[str, Any] | str, known: dict[Path, str | None], absent: dict[Path, None]
) -> Iterator[str]:
    """Yield the problems of one result.

    Args:
        root, name, record: of the result.
        known: checksums by path, to which new ones are added, since most files are inputs of several results.
        absent: inputs of a command that do not exist, to which new ones are added: a report is read elsewhere, too.
    """
    if isinstance(record, str):
        yield record
        return
    found = _cached_checksum(root / name, known)
    if found != record["sha256"]:
        yield f"{root / name}: {'is missing' if found is None else 'has changed since it was written'}"
    if not record["settings_unchanged"]:
        yield f"{_record_file(root, name)}: the settings in it have changed"
    for kind, base, entries in (("", root, record["inputs"]), ("source ", root.resolve().parent, record["sources"])):
        for entry, value in entries.items():
            path = base / entry if not kind else Path(os.path.normpath(base / entry))
            found = _cached_checksum(path, known)
            if found is None and kind and not record["workflow"]:
                absent[path] = None
            elif found != value:
                state = "is missing" if found is None else "has changed since"
                yield f"{root / name}: was computed from {kind}{path}, which {state}"


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
    """Return a path relative to the results folder or, if it is outside, to the folder that this lies in."""
    if root is None or (path.is_absolute() and not _is_inside(path, root)):
        return str(path)
    if not _is_inside(path, root):
        return os.path.relpath(path, root.resolve().parent)
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
