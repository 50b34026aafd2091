"""Every example of the documentation is valid: commands have these options, configs these settings, calls these names.

tests/workflow/test_documentation.py runs them.
"""

import ast
import contextlib
import importlib.util
import io
import os
import re

import pytest
import yaml
from snakemake.cli import parse_args

import deepssim
from deepssim.cli import _parse
from deepssim.config.settings import parse_config
from tests.conftest import ROOT
from tests.documentation import LANGUAGES, block_commands, blocks, commented_commands, inline_commands

COMMANDS = [*block_commands(), *commented_commands()]
ALL = [*COMMANDS, *inline_commands()]
# Examples that cannot be checked here, by how they begin.
EXEMPT = {
    "snakemake --executor cluster-generic": "the executor is an own package; docs/cluster.md says how far it was tried",
    "snakemake --executor kubernetes": "the executor is an own package, and docs/cluster.md says that the tests do not use it",
    "snakemake --cores 8 --software-deployment-method apptainer": "needs an image; test_dry_runs.py asks for one that is missing",
    "snakemake --profile": "the executor of Slurm is an optional package; test_dry_runs.py and test_slurm.py use both profiles",
}


def of(program, examples):
    return [
        pytest.param(example.words, id=f"{example.place} {example.text[:60]}")
        for example in examples
        if example.words[0] == program and not example.text.startswith(tuple(EXEMPT))
    ]


def refusal(words):
    """Return why a command line is refused, empty if it is not."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(errors):
        try:
            _parse(words)
        except SystemExit as stop:
            return "" if not stop.code else errors.getvalue()
    return ""


def help_of(words):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as stop:
        _parse([*words, "--help"])
    assert stop.value.code == 0
    return text.getvalue()


def test_examples_are_found():
    assert len(blocks()) > 15
    assert {block.language for block in blocks()} <= set(LANGUAGES)
    assert len(block_commands()) > 20
    assert len(commented_commands()) > 6
    assert len(inline_commands()) > 10
    for start in EXEMPT:
        assert any(example.text.startswith(start) for example in ALL), f"no example begins with {start!r}"


@pytest.mark.parametrize("words", of("deepssim", COMMANDS))
def test_commands_of_the_package(words):
    assert refusal(words[1:]) == ""


@pytest.mark.parametrize("words", of("deepssim", inline_commands()))
def test_commands_in_running_text(words):
    """They may leave out required options, but what they name exists."""
    refused = refusal(words[1:])
    if refused:
        assert "required" in refused
        path = words[1 : next((place for place, word in enumerate(words) if word.startswith("-")), None)]
        options = set(re.findall(r"--[a-z][a-z0-9-]*", help_of(path).replace("_", "-")))
        assert {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("words", of("snakemake", ALL))
def test_commands_of_the_workflow(words, monkeypatch):
    """Files to make are not taken for values of the option before them."""
    monkeypatch.chdir(ROOT)
    _, options = parse_args(words[1:])
    files = [word for word in words if word.startswith("results/")]
    assert sorted(options.targets) == sorted(files)
    assert all(str(path).endswith((".yaml", ".json")) for path in options.configfile)


def test_other_programs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in (example.words for example in COMMANDS if example.words[0] not in ("deepssim", "snakemake")):
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE)
        elif words[:2] == ["python", "-c"]:
            compile(words[2], "example", "exec")
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2])
        elif words[0] in ("docker", "apptainer"):
            assert words[1] in ("build", "run")
            assert [word for word in words if word.startswith("envs/") and not (ROOT / word).is_file()] == []
        elif "/" in words[0]:
            assert os.access(ROOT / words[0], os.X_OK)
        else:
            assert importlib.util.find_spec(words[0])  # tensorboard


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.language == "yaml"], ids=lambda block: block.place
)
def test_settings(block):
    parse_config(yaml.safe_load(block.text))


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.language == "python"], ids=lambda block: block.place
)
def test_calls(block):
    tree = ast.parse(block.text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    names = {node.attr for node in calls if node.value.id == "deepssim"}
    assert names
    assert {name for name in names if not hasattr(deepssim, name)} == set()
