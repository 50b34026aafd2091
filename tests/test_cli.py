"""The commands that exist, and what every one of them has in common; those that run a stage are in stages/."""

import argparse
import os
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from deepssim.cli import _parser, main
from deepssim.reference import generation_commands, score_commands
from deepssim.stages import commands
from tests.conftest import ROOT

OWN = ("audit", "show", "verify", "check-config", "schema", "export", "embed-captions")
STAGES = ("embed", "score-images", "score-embeddings", "score-pairs", "gather-matrix", "evaluate")
REFERENCE = (
    "ldm-train-vae", "ldm-train-diff", "ldm-generate", "compute-matrix", "compute-ssim", "compute-fsim", "eval", "eval-ssim",
    "plot-reports", "train",
)  # fmt: skip
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("[cr]*/README.md"))]


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command."""
    (found,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def test_help_lists_the_commands_in_groups(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    listed = re.findall(r"^ {4}([a-z][a-z-]+)(?:\s|$)", capsys.readouterr().out, re.MULTILINE)
    assert listed == [*OWN, *STAGES, *REFERENCE]
    assert tuple(commands.COMMANDS) == STAGES
    assert (*generation_commands.COMMANDS, *score_commands.COMMANDS) == REFERENCE


def test_the_pages_name_no_command_that_does_not_exist():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    named = set(re.findall(r"(?:^|[`$/] ?)deepssim ([a-z][a-z-]+)", text, re.MULTILINE))
    assert {"audit", "show", "verify", "eval"} <= named
    assert named - {*OWN, *STAGES, *REFERENCE} == set()


def test_every_option_is_explained():
    for name, parser in subcommands().items():
        for action in parser._actions:
            assert action.help or action.dest == "config", (name, action.dest)  # `check-config FILE` says it all


def test_no_option_has_a_silent_default_path():
    """The help of an option tells its default if that is text; all other files have to be named."""
    for name, parser in subcommands().items():
        for action in parser._actions:
            default = action.default
            if isinstance(default, (str, Path)) and default != argparse.SUPPRESS:
                assert "default" in action.help, (name, action.dest)
                assert action.choices or f"default: {default}" in action.help % {"default": default}, (
                    name,
                    action.dest,
                )


def test_a_stage_by_hand_has_no_default_file():
    for name in STAGES:
        files = [action for action in subcommands()[name]._actions if action.metavar == "FILE"]
        assert len(files) >= 2
        assert [action.dest for action in files if action.default is not None] == []


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["prepare-dataset", "train-vae", "misalign", "report", "fit-thresholds"])
def test_other_stages_are_no_commands(name, capsys):
    """They are run by Snakemake, which knows their files."""
    with pytest.raises(SystemExit) as stop:
        main([name])
    assert stop.value.code == 2
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("evall", "; did you mean 'eval'"),
        ("compute_matrx.py", "; did you mean 'compute-matrix'"),
        ("xyz", "; `deepssim"),
    ],
)
def test_an_unknown_command_is_answered_with_the_nearest(word, near, capsys):
    with pytest.raises(SystemExit) as stop:
        main([word])
    assert stop.value.code == 2
    assert f"there is no command {word!r}{near}" in capsys.readouterr().err


def test_choices_are_shown_as_they_are_typed():
    for name, parser in subcommands().items():
        for action in parser._actions:
            assert not any(isinstance(choice, Enum) for choice in action.choices or ()), (name, action.dest)
            assert not isinstance(action.default, Enum) or action.choices, (name, action.dest)


@pytest.mark.parametrize("arguments", [["schema"], ["check-config", str(ROOT / "config" / "config.yaml")]])
def test_a_reader_that_stops_ends_a_command_without_a_traceback(tmp_path, arguments):
    """As `deepssim ... | head`, with a reader that takes nothing at all."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "deepssim.cli", *arguments],
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode == 141, done.stderr


def test_configs_are_checked_by_hand(tmp_path, capsys):
    main(["check-config", str(ROOT / "config" / "config.yaml")])
    assert "config.yaml" in capsys.readouterr().out
    config = tmp_path / "own.yaml"
    for content, offender in (("vae: {epoch: 3}", "epochs"), ("published: {chen: none.pt}", "none.pt")):
        config.write_text(content)
        with pytest.raises(SystemExit) as stop:
            main(["check-config", str(config)])
        assert stop.value.code == 1
        assert offender in capsys.readouterr().err


def test_the_schema_is_that_of_the_config_files(capsys):
    import yaml

    main(["schema"])
    printed = yaml.safe_load(capsys.readouterr().out)
    shipped = yaml.safe_load((ROOT / "config" / "schemas" / "config.schema.yaml").read_text(encoding="utf-8"))
    assert printed == shipped
    assert printed["additionalProperties"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "results/eval/ssim.json"),
        (["verify"], "results"),
        (["check-config", "none.yaml"], "none.yaml"),
        (["export", "none.safetensors", "x.pth"], "none.safetensors"),
        (["embed-captions", "--dataset-csv", "none.csv", "--model", "x", "--output-dir", "y"], "none.csv"),
        (["audit", "none", "none", "--out", "report"], "none"),
        (["eval", "--metric_name", "ssim", "--matrix_path", "m.npz", "--real_indices_path", "r.npz",
          "--synth_indices_path", "s.npz", "--testset_csv", "t.csv"], "t.csv"),
    ],
)  # fmt: skip
def test_a_missing_file_is_one_sentence_that_names_it(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert not any("Traceback" in line for line in error)
