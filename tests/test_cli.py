"""The commands that exist, and what every one of them has in common; those that run a stage are in stages/."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

from deepssim.cli import GROUPS, _parse, _parser, main
from deepssim.config.choices import MetricName
from deepssim.reference import generation_commands, score_commands
from deepssim.reference.script_names import command_of
from deepssim.runtime.threads import available_threads
from deepssim.stages import commands
from tests.conftest import ROOT

STAGES = GROUPS["single stages of the workflow, on files of your own"]
REFERENCE = GROUPS["commands of the reference code, under the names of its scripts"]
ALL = [name for names in GROUPS.values() for name in names]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("[cr]*/README.md"))]


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command."""
    (found,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def test_help_lists_every_command_once_in_groups(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [match[1] for line in lines if (match := re.match(r"^  ([a-z][a-z-]+)\s{2,}\S", line))]
    assert listed == ALL
    assert [line[:-1] for line in lines if line[:-1] in GROUPS] == list(GROUPS)
    assert sorted(subcommands()) == sorted(ALL)
    assert tuple(commands.COMMANDS) == STAGES
    assert sorted((*generation_commands.COMMANDS, *score_commands.COMMANDS)) == sorted(REFERENCE)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ALL)
def test_every_help_ends_with_an_example_that_can_be_parsed(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: deepssim {name} ")
    example = shown.split("example:\n  deepssim ")[1]
    words = shlex.split(example.split(">")[0])
    assert words[0] == name
    assert _parse(words).call


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"deepssim \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_options_may_have_underscores_and_values_keep_theirs():
    words = [
        "audit",
        "my_real",
        "my_synthetic",
        "--out=my_out",
        "--subject_pattern",
        "^(a_b)",
        "--false_positive_rate=0.05",
    ]
    options = _parse(words)
    assert (options.real, options.out, options.subject_pattern) == ("my_real", "my_out", "^(a_b)")
    assert options.false_positive_rate == 0.05


@pytest.mark.parametrize(
    ("word", "meant"), [("adit", "audit"), ("score-image", "score-images"), ("chek_config", "check-config")]
)
def test_a_misspelt_command_gets_a_suggestion(word, meant, capsys):
    with pytest.raises(SystemExit) as stop:
        main([word])
    assert stop.value.code == 2
    assert (
        f"there is no command '{word}'; did you mean '{meant}'? `deepssim --help` lists all" in capsys.readouterr().err
    )


def test_a_stage_offers_only_metrics_that_it_takes():
    offered = {name: _choices(name, "metric") for name in STAGES if name != "pack"}
    assert offered["score-images"] == ["ssim", "fsim"]
    assert offered["embed"] == offered["score-embeddings"] == ["deepssim", "chen", "dar", "semdedup"]
    assert (
        offered["score-pairs"] == offered["gather-matrix"] == offered["evaluate"] == [name.value for name in MetricName]
    )


def _choices(command, dest):
    return next(action.choices for action in subcommands()[command]._actions if action.dest == dest)


def test_the_pages_name_no_command_that_does_not_exist():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    named = {command_of(name) for name in re.findall(r"(?:^|[`$/] ?)deepssim ([a-z][a-z_-]+)", text, re.MULTILINE)}
    assert {"audit", "show", "verify", "eval"} <= named
    assert named - set(ALL) == set()


def test_every_option_is_explained():
    for name, parser in subcommands().items():
        for action in parser._actions:
            assert action.help, (name, action.dest)


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
        ("compute_matrx.py", "; did you mean 'compute-matrix'? `deepssim"),
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
        (["show"], "results: has no results of a run and no report of an audit"),
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


@pytest.mark.parametrize("count", ["0", "-3", "two", "1.5"])
def test_unusable_numbers_of_threads_are_refused(count, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["audit", "a", "b", "--out", "c", f"--threads={count}"])
    assert stop.value.code == 2
    assert f"argument --threads: '{count}' is not a whole number of at least 1" in capsys.readouterr().err


def test_more_threads_than_processors_are_as_many():
    assert _parse(["audit", "a", "b", "--out", "c", "--threads", "1000000"]).threads == available_threads()


def test_a_misspelt_option_gets_a_suggestion(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["audit", "a", "b", "--out", "c", "--subjcts", "t.csv"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "usage: deepssim audit " in error
    assert error.endswith("unknown arguments: --subjcts t.csv; did you mean --subjects?\n")
