"""Set up a workflow job around its stage: threads, log, GPUs, settings and atomic outputs.

Not here: the stages (stages/).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepssim.config.choices import MetricName
from deepssim.config.settings import typed_settings
from deepssim.runtime.gpus import reserve_gpus
from deepssim.runtime.lean_imports import import_monai_lean
from deepssim.runtime.locks import job_in_run
from deepssim.runtime.messages import log_to, short_errors
from deepssim.runtime.outputs import atomic_outputs, remove_leftovers
from deepssim.runtime.processes import is_worker
from deepssim.runtime.records import Origin, write_records
from deepssim.runtime.threads import set_threads

RESULTS = Path("results")  # where rules write


@dataclass(frozen=True)
class Run:
    """One job of the workflow.

    Attributes:
        files: named inputs and outputs; outputs are temporary paths, renamed when the job succeeds.
        values: a stage's other arguments by name: wildcards, the rule's params, the settings declared in its params, and
            `threads`.
    """

    files: dict[str, Any]
    values: dict[str, Any]


@contextmanager
def job(snakemake: Any) -> Iterator[Run]:
    """Run a workflow script: messages and tracebacks go to the rule's log, and outputs appear complete or not at all.

    Args:
        snakemake: the object that Snakemake passes to scripts.
    """
    set_threads(snakemake.threads)
    import_monai_lean()
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
        log_to(snakemake.log[0] if snakemake.log else None),
        short_errors(),
        job_in_run(Path(".snakemake")),
        reserve_gpus(0 if is_worker() else int(snakemake.resources.get("gpu", 0))),
        atomic_outputs(final) as outputs,
    ):
        remove_leftovers(final, outputs)
        # Tracking changes no result; as a param of the rule, a change of it would trigger a rerun.
        settings = typed_settings(declared | {"tracking": snakemake.config["tracking"]})
        params = {name: value for name, value in snakemake.params.items() if name not in ("config", "version")}
        values = _typed_wildcards(snakemake.wildcards) | params | settings | {"threads": snakemake.threads}
        yield Run({**dict(snakemake.input.items()), **outputs}, values)
        write_records(origin, *({name: Path(path) for name, path in paths.items()} for paths in (final, outputs)))


def _typed_wildcards(wildcards: Any) -> dict[str, Any]:
    """Convert a rule's wildcards to arguments of the stages: `metric`, `shard`, `misaligned`."""
    kinds: dict[str, tuple[str, Callable[[str], Any]]] = {
        "metric": ("metric", MetricName),
        "shard": ("shard", int),
        "variant": ("misaligned", bool),
    }
    found = {name: text for name, text in wildcards.items() if name in kinds}
    return {kinds[name][0]: kinds[name][1](text) for name, text in found.items()}
