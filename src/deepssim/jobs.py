"""What every stage needs around its computation: threads, a log, one-sentence errors, outputs that appear whole.

Not here: what the stages do (stages/).
"""

import errno
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from deepssim.config import sections
from deepssim.errors import DeepssimError
from deepssim.gpus import own_gpus
from deepssim.locks import job_in_run
from deepssim.processes import is_first_worker, is_worker
from deepssim.records import Origin, write_records

logger = logging.getLogger("deepssim")

RESULTS = Path("results")  # where rules and, unless told otherwise, commands put them

_FULL_DISK = re.compile(rf"(os error |errno = ){errno.ENOSPC}\b")
_DAMAGED = re.compile(r"Can't (synchronously )?read data")  # h5py, of a file that was opened well


@dataclass(frozen=True)
class Run:
    """One job of the workflow.

    Attributes:
        files: named inputs and outputs; an output is a temporary path that becomes the real one when the job ends well.
        config: the parts of the config that the rule declares in its params.
        threads: processor threads to use.
    """

    files: dict[str, Any]
    config: SimpleNamespace
    threads: int


@contextmanager
def job(snakemake: Any) -> Iterator[Run]:
    """Run a workflow script: messages and tracebacks go to the rule's log, outputs appear whole or not at all."""
    set_threads(snakemake.threads)
    declared = snakemake.params.get("config", {})
    final = dict(snakemake.output.items())
    origin = Origin(
        RESULTS,
        snakemake.rule,
        declared,
        tuple(map(Path, snakemake.input)),
        *map(snakemake.config.get, ("seed", "device")),
    )
    with (
        logged(snakemake.log[0] if snakemake.log else None),
        short_errors(),
        job_in_run(Path(".snakemake")),
        own_gpus(0 if is_worker() else int(snakemake.resources.get("gpu", 0))),
        whole_outputs(final) as outputs,
    ):
        _remove_leftovers(final, outputs)
        # Where a training is watched changes no result, so it is no parameter, which would run the rule again.
        settings = declared | {"tracking": snakemake.config["tracking"]}
        yield Run({**dict(snakemake.input.items()), **outputs}, sections(settings), snakemake.threads)
        record(origin, final, outputs)


def _remove_leftovers(final: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Remove what an earlier attempt left that was killed; a run lets no two jobs make the same output at a time."""
    for name, path in final.items():
        for left in Path(path).parent.glob(f".part-*-{Path(path).name}"):
            if left != Path(outputs[name]):
                _remove(left)


def record(origin: Origin, final: Mapping[str, str | Path], outputs: Mapping[str, str]) -> None:
    """Write down where the outputs of a job come from, before they take their places."""
    write_records(origin, *({name: Path(path) for name, path in paths.items()} for paths in (final, outputs)))


def set_threads(threads: int) -> None:
    """Limit numerical libraries to `threads`; works only before they are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    # Threads that spin while they wait make small training steps up to ten times slower on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def available_threads() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def logged(path: str | Path | None) -> Iterator[None]:
    """Show this package's messages on the terminal and, with a path, keep them in a file.

    Of processes that train together the first adds to the file of the program that started them; the others tell errors.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path and (not is_worker() or is_first_worker()):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="a" if is_worker() else "w", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
    logger.setLevel(logging.ERROR if is_worker() and not is_first_worker() else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def short_errors() -> Iterator[None]:
    """End the program with one sentence for what a user can mend, with a logged traceback for everything else."""
    try:
        yield
    except DeepssimError as error:
        logger.error("%s", error)  # the sentence is all that helps here
        raise SystemExit(1) from None
    except Exception as error:
        advice = _advice(error)
        if advice:
            logger.error("%s", advice)
            raise SystemExit(1) from None
        logger.exception("unexpected error")
        raise SystemExit(2) from None


def _advice(error: BaseException) -> str | None:
    """Return the sentence for an error of the machine that a user can mend."""
    chain = [error]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    # Libraries that write files by themselves have errors of their own, which at least quote the system's.
    if any(getattr(one, "errno", None) == errno.ENOSPC or _FULL_DISK.search(str(one)) for one in chain):
        return (
            f"no space is left on the disk of {Path.cwd()} or of the outputs; free some and give the same command again: "
            "what was finished is kept, and a training goes on from its last checkpoint"
        )
    refused = next(
        (one for one in chain if getattr(one, "errno", None) in (errno.EROFS, errno.EACCES, errno.EPERM)), None
    )
    if refused is not None:
        return (
            f"{getattr(refused, 'filename', None) or 'a file'} cannot be written or read ({os.strerror(refused.errno)}); "  # type: ignore[attr-defined]
            "change its permissions, or name another folder with --directory"
        )
    damaged = next((one for one in chain if _DAMAGED.search(str(one))), None)
    if damaged is not None:
        return f"an input file is damaged ({damaged}); `deepssim verify` says which, remove it and run snakemake again"
    if any(type(one).__name__ == "OutOfMemoryError" for one in chain):  # torch's, without importing it
        return (
            f"the GPU's memory does not suffice ({' '.join(str(error).split())[:120]}); lower the batch_size, and raise "
            "accumulate of a training as much to keep its effective batch"
        )
    return None


@contextmanager
def whole_outputs(paths: Mapping[str, str | Path]) -> Iterator[dict[str, str]]:
    """Give temporary paths to write to and rename them at the end; remove them, and new folders, if anything goes wrong.

    Args:
        paths: final files or folders by name.
    """
    final = {name: Path(path) for name, path in paths.items()}
    temporary = {name: path.with_name(f".part-{os.getpid()}-{path.name}") for name, path in final.items()}
    new = {folder for path in final.values() for folder in path.parents if not folder.exists()}
    for path in final.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield {name: str(path) for name, path in temporary.items()}
        for name, path in temporary.items():
            if final[name].is_dir():
                shutil.rmtree(final[name])
            path.replace(final[name])
    finally:
        for path in temporary.values():
            _remove(path)
        for folder in sorted(new, key=lambda folder: len(folder.parts), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
