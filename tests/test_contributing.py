"""What a contributor reads and uses: files that are named exist, versions agree, workflows call what is there."""

import re
import tomllib

import pytest
import yaml

from tests.conftest import ROOT

GITHUB = sorted((ROOT / ".github").rglob("*.yml"))


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", ".github/PULL_REQUEST_TEMPLATE.md"])
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    code = re.findall(r"`((?:src|tests|config|benchmarks|envs)/[\w./-]+)`", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith("http")]
    in_commands = re.findall(r"pytest ((?:tests/[\w./]+ ?)+)", text)
    named = [*code, *links, *(path for paths in in_commands for path in paths.split())]
    assert page == "SECURITY.md" or named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_citation_is_that_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["title"] == project["name"]
    assert citation["license"] == project["license"]
    assert str(citation["version"]) == project["version"]


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_workflows_call_what_is_there(path):
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"\bmake ([\w./-]+)", text)
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
    marks = set(re.findall(r"\b(\w+)\b", " ".join(re.findall(r"marks: \[(.*)\]", text)))) - {"or"}
    known = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    assert [mark for mark in marks if f'"{mark}' not in known] == []


def test_every_slow_test_runs_at_night():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    slow = re.search(r"^SLOW := (.+)$", makefile, re.MULTILINE)[1].split(" or ")
    nightly = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8"))
    marks = nightly["jobs"]["slow"]["strategy"]["matrix"]["marks"]
    assert sorted(slow) == sorted(mark for part in marks for mark in part.split(" or "))


def test_python_versions_are_those_of_the_checks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    checks = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text(encoding="utf-8"))
    versions = checks["jobs"]["quick"]["strategy"]["matrix"]["python"]
    assert project["requires-python"].removeprefix(">=") == versions[0]
    assert [f"Programming Language :: Python :: {version}" for version in versions] == [
        line for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)
    ]
    nightly = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text(encoding="utf-8"))
    assert {"python-version": versions[0]} in [step.get("with") for step in nightly["jobs"]["lowest"]["steps"]]


def test_the_lowest_versions_of_all_dependencies_are_named():
    """A dependency without one would be tried with its first release, and names none that was tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    unbound = [line for line in lines if not re.search(r"[>=]=", line.split(";")[0])]
    assert sorted({re.split(r"\W", line)[0] for line in unbound}) == ["llvmlite", "torchvision"]  # numba's, torch's
