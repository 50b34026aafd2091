"""Every rule has a stage, and its files, settings and parameters fit the stage's function."""

import inspect
import re

import pytest

from deepssim.runtime.jobs import _typed_wildcards
from deepssim.runtime.stage_versions import STAGE_VERSIONS
from deepssim.stages import MODULES, stage_function
from tests.conftest import ROOT

TEXT = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")))
RULES = re.findall(r"^rule (\w+):", TEXT, re.MULTILINE)
BY_HAND = {"pack"}  # a stage without a rule: prepare_dataset packs


@pytest.fixture(scope="module")
def jobs(plans):
    """All jobs of all plans by rule: also those of few settings, such as fitted thresholds or no thresholds."""
    found = {}
    for plan in plans.values():
        for job in plan.jobs:
            found.setdefault(job.rule, []).append(job)
    return found


def test_every_rule_has_a_stage_and_a_version():
    assert len(RULES) == len(set(RULES))
    assert set(MODULES) == {*RULES, *BY_HAND}
    assert set(STAGE_VERSIONS) == set(RULES)
    for name in MODULES:
        assert callable(stage_function(name))
        assert stage_function(name).__doc__


def test_one_script_runs_them_all():
    scripts = sorted(path.name for path in (ROOT / "workflow" / "scripts").iterdir() if path.is_file())
    assert scripts == ["stage.py"]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_declares_all_that_a_job_needs(jobs, rule):
    for job in jobs[rule]:
        assert job.script == "../scripts/stage.py"
        assert job.params["version"] == STAGE_VERSIONS[rule]
        assert job.threads >= 1
        assert {"gpu", "mem_mb", "runtime"} <= set(job.resources)
        assert len(job.log) == 1
        assert job.outputs
        assert job.container  # of which Snakemake makes use if asked to


def test_jobs_run_in_the_container_that_the_settings_name(plans):
    assert {job.container for job in plans["audit"].jobs} == {"deepssim.sif"}
    assert {job.container for job in plans["own container"].jobs} == {"docker://registry.example.org/deepssim:0.1.0"}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_fits_the_function_of_its_stage(jobs, rule):
    """By the names that the job hands over (runtime/jobs.py): no file, setting or parameter is lost, none is missing."""
    arguments = inspect.signature(stage_function(rule)).parameters
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in arguments.values())
    required = {name for name, one in arguments.items() if one.default is inspect.Parameter.empty}
    for job in jobs[rule]:
        files = {*job.inputs, *job.outputs}
        settings = {name.rpartition(".")[2] for name in job.params.get("config", {})}
        params = set(job.params) - {"config", "version"}
        wildcards = set(_typed_wildcards(job.wildcards))
        assert files | settings | params <= set(arguments)
        assert required <= files | settings | params | wildcards | {"threads"}


def test_trainings_can_be_tracked(jobs):
    trainings = [name for name in RULES if "tracking" in inspect.signature(stage_function(name)).parameters]
    assert trainings == ["train_deepssim", "train_dar", "train_ldm", "train_vae"]
    assert {name for name in RULES if name.startswith("train_")} == set(trainings)
    for name in trainings:  # which changes no result: a parameter of the rule would run it again
        assert "tracking" not in jobs[name][0].params["config"]
