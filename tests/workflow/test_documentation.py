"""The examples of the documentation run: those of the workflow as dry runs, those that take seconds for real."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import ROOT
from tests.audit.folders import make_folders
from tests.documentation import Example, block_commands, commented_commands, inline_commands
from tests.test_documentation import EXEMPT
from tests.workflow.conftest import TINY
from tests.workflow.plans import STAND_INS

PROGRAMS = {"snakemake": ("-m", "snakemake"), "deepssim": ("-m", "deepssim.cli"), "python": ()}
FINISHED = "Nothing to be done"
# Run for real, by how they begin, with the exit codes that are right; on the results of the tiny config, where they need results.
EXECUTED = {
    "deepssim audit real/": (3,),  # copies are found
    "deepssim check-config": (0,),
    "deepssim schema": (0,),
    "deepssim score-images": (0,),
    "deepssim score-pairs": (0,),
    "python -c": (0,),
    "snakemake --configfile my.yaml": (0,),
    "snakemake results/eval/deepssim.json --configfile my.yaml": (0,),
}
ONLY_CHECKED = {
    "benchmarks/gpu.sh": "measures a GPU; test_benchmarks_gpu.py runs its parts at small sizes",
    "python -m benchmarks.gpu_kit": "downloads packages; test_benchmarks_gpu.py tests what it chooses",
    "deepssim audit --ratings": "needs the ratings of people; audit/test_rating.py gives it some",
    "deepssim init": "test_package.py starts a study, from a wheel",
    "deepssim run": "takes as long as the demo; test_package.py runs a smaller study, from a wheel",
    "deepssim show my_study": "shows results of the command before; test_cli.py and test_run.py show others",
    "docker": "needs an image",
    "apptainer": "needs an image",
    "python -m pip": "installs the lock; test_lock.py compares it with what is needed",
    "pip": "test_package.py builds a wheel and installs it",
    "make": "installs this package in an environment of its own; the demo takes six minutes",
    "tensorboard": "a server that does not end",
    "deepssim embed-captions": "needs a model of language; generative/test_conditioning.py embeds with a small one",
    "deepssim ldm-": "trains for hours with the sizes of the reference; reference/test_generation_commands.py trains small ones",
    "snakemake": "dry run below",
}


@pytest.fixture
def checkout(tmp_path):
    """What a user has after cloning, with `my.yaml`, and with empty files where configs name data."""
    for name in ("Snakefile", "workflow", "envs", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("config", "profiles"):  # examples write there
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(TINY, tmp_path / "my.yaml")
    for name in STAND_INS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def run(folder: Path, example: Example, *further: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a folder; absolute paths of examples start there."""
    program, *words = example.words
    words = [word.replace("/shared/", f"{folder}/shared/") if word.startswith("/") else word for word in words]
    return subprocess.run(
        [sys.executable, *PROGRAMS[program], *words, *further], cwd=folder, text=True, timeout=600,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def begins(example, starts):
    return next((start for start in sorted(starts, key=len, reverse=True) if example.text.startswith(start)), None)


def test_every_example_is_run_or_there_is_a_reason():
    left = [example for example in block_commands() if not begins(example, [*EXECUTED, *ONLY_CHECKED, *EXEMPT])]
    assert left == []
    for start in (*EXECUTED, *ONLY_CHECKED):
        assert any(example.text.startswith(start) for example in block_commands()), f"no example begins with {start!r}"


DRY = [example for example in (*block_commands(), *commented_commands(), *inline_commands())
       if example.words[0] == "snakemake" and not begins(example, EXEMPT) and "--lint" not in example.words]  # fmt: skip


@pytest.mark.parametrize("example", DRY, ids=lambda example: f"{example.place} {example.text[:50]}")
def test_a_command_of_the_workflow_plans_jobs(checkout, example):
    found = run(checkout, example, "--dry-run")
    assert found.returncode == 0, found.stdout[-3000:]
    assert "Job stats" in found.stdout


@pytest.fixture
def study(checkout, results):
    """A checkout with what the commands in EXECUTED read."""
    shutil.copytree(results.parent, checkout / "my_study")
    shutil.copytree(results.parent, checkout, dirs_exist_ok=True)
    for name, of in (
        ("real.h5", "dataset/real.h5"),
        ("synthetic.h5", "synthetic/000.h5"),
        ("pairs.csv", "pairs/test.csv"),
    ):
        shutil.copy(results / of, checkout / name)
    make_folders(checkout / "images", real=12, synthetic=10, holdout=12)
    for name, of in (("real", "real"), ("synthetic", "synthetic"), ("other_patients", "holdout")):
        shutil.move(checkout / "images" / of, checkout / name)
    return checkout


def test_examples_run_as_printed(study):
    """One after the other, as a reader tries them, and each once."""
    for example in {tuple(example.words): example for example in block_commands()}.values():
        start = begins(example, EXECUTED)
        if start and start == begins(example, [*EXECUTED, *ONLY_CHECKED]):
            found = run(study, example)
            assert found.returncode in EXECUTED[start], f"{example}\n{found.stdout[-3000:]}"
            assert "Traceback" not in found.stdout
            if start.startswith("snakemake"):
                assert FINISHED in found.stdout  # on the copy of finished results
    assert list((study / "report").glob("*.html"))
    assert len((study / "scored.csv").read_text().splitlines()) > 1
    assert (study / "scores.h5").exists()


def test_a_file_after_configfile_is_not_made(checkout):
    """What README.md warns of. If Snakemake mends it, the warning can go."""
    found = run(checkout, Example(place="", text="snakemake --configfile my.yaml results/eval/ssim.json"), "--dry-run")
    assert found.returncode != 0
    assert "FileNotFoundError" in found.stdout
    found = run(checkout, Example(place="", text="snakemake --resources gpu=1 results/eval/ssim.json"), "--dry-run")
    assert found.returncode != 0
    assert "ValueError" in found.stdout
    (checkout / "results" / "eval").mkdir(parents=True)
    (checkout / "results" / "eval" / "ssim.json").write_text('{"macro_f1": 1}')
    found = run(checkout, Example(place="", text="snakemake --configfile my.yaml results/eval/ssim.json"), "--dry-run")
    assert found.returncode != 0
    assert re.search(r"my\.yaml, .*results/eval/ssim\.json: 'macro_f1' is not a setting of the config", found.stdout)


def test_without_options_a_run_takes_all_cores_and_one_gpu_at_a_time(checkout, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    tiny = yaml.safe_load(TINY.read_text()) | {"device": "auto"}
    (checkout / "my.yaml").write_text(yaml.safe_dump(tiny))
    command = Example(place="", text="snakemake results/dataset/images.csv --configfile my.yaml --directory my_study")
    found = run(checkout, command)
    assert found.returncode == 0, found.stdout[-3000:]
    (log,) = (checkout / "my_study" / ".snakemake" / "log").glob("*.log")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert f"Provided cores: {cores}" in log.read_text()
    assert 'gpu=Resource("gpu", 1)' in log.read_text()
    assert "step 1 of 1: read the real images" in found.stdout
    assert len(found.stdout.splitlines()) < 15 < len(log.read_text().splitlines())
