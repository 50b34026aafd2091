"""The package as PyPI would hand it out: built, installed into an environment of its own, and used in an empty folder."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.audit.folders import make_folders, tiny_encoder
from tests.conftest import ROOT
from tests.workflow.plans import CHAIN

PIPELINE = ("Snakefile", "workflow", "config", "profiles", "envs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the source distribution and not from the checkout, as package indexes do."""
    folder = tmp_path_factory.mktemp("build")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run([*build, "--target", "sdist"], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    unpacked = folder / archive.name.removesuffix(".tar.gz")
    subprocess.run([*build, "--target", "wheel"], cwd=unpacked, check=True, capture_output=True, timeout=120)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory) -> Path:
    """Folder of programs of an environment that has this package from the wheel, and only its dependencies from here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / "bin"
    install = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    (packages,) = folder.glob("lib/python*/site-packages")
    # The path file of an editable installation in that folder is not read: only Python's own folders are searched for these.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def run(programs: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(programs / words[0]), *words[1:]], cwd=folder, env=environment, text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_the_wheel_carries_the_whole_workflow(wheel):
    tracked = subprocess.run(["git", "ls-files", *PIPELINE], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a checkout")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    inside = {name.removeprefix("deepssim/pipeline/") for name in names if name.startswith("deepssim/pipeline/")}
    assert inside == set(tracked.stdout.splitlines())
    assert {name.split("/")[0] for name in names} == {"deepssim", names[-1].split("/")[0]}
    assert "deepssim/py.typed" in names
    assert any(name.startswith("deepssim/audit/templates/") for name in names)


def test_library_and_workflow_come_from_the_wheel(programs, tmp_path):
    code = "import deepssim; from deepssim.study import pipeline_folder; print(deepssim.__file__, pipeline_folder(), sep='\\n')"
    done = run(programs, tmp_path, "python", "-c", code)
    assert done.returncode == 0, done.stdout
    assert all(Path(line).is_relative_to(programs.parent) for line in done.stdout.splitlines())
    assert done.stdout.rstrip().endswith("pipeline")


def test_jobs_in_an_environment_of_their_own_find_the_library_and_nothing_else(programs, tmp_path):
    code = "from deepssim.study import library_path; print(library_path('scratch')); library_path('scratch')"
    done = run(programs, tmp_path, "python", "-c", code)
    assert done.returncode == 0, done.stdout
    folder = Path(done.stdout.strip())
    assert [path.name for path in folder.iterdir()] == ["deepssim"]
    assert (folder / "deepssim" / "study.py").is_file()


def test_an_audit(programs, tmp_path):
    make_folders(tmp_path)
    options = (
        "--holdout",
        "holdout",
        "--encoder",
        str(tiny_encoder(tmp_path / "encoder.safetensors")),
        "--threads",
        "1",
    )
    done = run(programs, tmp_path, "deepssim", "audit", "real", "synthetic", *options, "--out", "report")
    assert done.returncode == 3, done.stdout[-3000:]  # copies are found
    assert (tmp_path / "report" / "index.html").stat().st_size > 0


def test_a_study(programs, tmp_path):
    """From settings to an evaluation; all further stages take longer, and run in test_run.py."""
    done = run(programs, tmp_path, "deepssim", "init", "my_study")
    assert done.returncode == 0, done.stdout
    study = tmp_path / "my_study"
    assert yaml.safe_load((study / "config" / "config.yaml").read_text())["dataset"]["kind"] == "virtual_patients"
    (study / "config" / "config.yaml").write_text(yaml.safe_dump(CHAIN))
    result = "results/eval/ssim.json"
    done = run(
        programs, tmp_path, "deepssim", "run", result, "--directory", "my_study", "--cores", "2", "--max-threads", "1"
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert json.loads((study / result).read_text())["mean_absolute_difference_to_ssim"] == 0  # SSIM is judged by itself
    done = run(programs, study, "deepssim", "run", result, "--dry-run")  # with the packaged profile and rules
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout
