"""Run a rule's job in this process: what Snakemake would hand over, given by hand."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from deepssim.config.base import as_settings
from deepssim.config.settings import parse_config
from deepssim.runtime.jobs import job
from deepssim.runtime.stage_versions import STAGE_VERSIONS
from deepssim.stages import run_stage
from tests.workflow.plans import Job


class _Files(dict):
    """Named files as Snakemake gives them: `items` are those with a name, iterating yields every file."""

    def __iter__(self) -> Iterator[str]:
        for value in self.values():
            yield from [value] if isinstance(value, str) else value


def as_snakemake(
    rule: str,
    config: Mapping[str, Any],
    *,
    settings: Sequence[str] = (),
    inputs: Mapping[str, str | list[str]],
    outputs: Mapping[str, str],
    wildcards: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
) -> SimpleNamespace:
    """Return what a script is given by Snakemake.

    Args:
        rule: name.
        config: what the user's config says.
        settings: that the rule declares, sections or single ones such as `dataset.bit_depth`.
        inputs, outputs: of the job, by name.
        wildcards, params: of the job.
    """
    plain = as_settings(parse_config(config))
    declared = {}
    for name in settings:
        section, _, key = name.partition(".")
        declared[name] = plain[section][key] if key else plain[section]
    return SimpleNamespace(
        rule=rule, config=plain, input=_Files(inputs), output=dict(outputs), wildcards=dict(wildcards or {}),
        params={"config": declared, "version": STAGE_VERSIONS[rule], **(params or {})},
        log=[f"results/logs/{rule}.log"], resources={}, threads=1,
    )  # fmt: skip


def run_rule(folder: Path, rule: str, config: Mapping[str, Any], **given: Any) -> None:
    """Run one job of a rule as workflow/scripts/stage.py does.

    Args:
        folder: where Snakemake would run; all paths are relative to it.
        rule, config, given: see `as_snakemake`.
    """
    (folder / ".snakemake").mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder), job(as_snakemake(rule, config, **given)) as run:
        run_stage(rule, run.files, run.values)


def run_job(folder: Path, planned: Job, config: Mapping[str, Any]) -> None:
    """Run one job of a dry run."""
    run_rule(folder, planned.rule, config, inputs=planned.inputs, outputs=planned.outputs, wildcards=planned.wildcards,
             params=planned.params)  # fmt: skip
