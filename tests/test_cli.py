"""Every stage can be run by hand; wrong input is one sentence."""

import inspect
import re

import pytest

from deepssim import stages
from deepssim.cli import STAGES, main
from tests.conftest import ROOT


def test_every_rule_has_a_subcommand_and_the_other_way_round():
    rules = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        rules |= set(re.findall(r"^rule (\w+):", path.read_text(), re.MULTILINE))
    # the workflow scores all pairs, so the scores of a few are for people only; the audit has a parser of its own
    assert {name.replace("-", "_") for name in STAGES} - {"score_pairs"} | {"audit"} == rules
    assert {path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py")} == rules


@pytest.mark.parametrize("name", STAGES)
def test_subcommands_fit_their_functions(name):
    stage = STAGES[name]
    parameters = inspect.signature(getattr(stages, name.replace("-", "_"))).parameters
    given = [*stage.inputs, *stage.optional, *stage.outputs, *(extra for extra in stage.extras if extra in parameters)]
    assert sorted(given) == sorted(parameters)


def test_stages_run_by_hand(tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text(
        "dataset: {virtual_patients: {train_patients: 6, valid_patients: 0, holdout_patients: 0}, image_size: [32, 32]}"
    )
    results = str(tmp_path / "results")
    main(["prepare-dataset", "--config", str(config), "--results", results])
    assert "train: 12 images of 6 subjects" in capsys.readouterr().err
    pack = f"{results}/dataset/real.h5"
    main(["misalign", "--config", str(config), "--pack", pack, "--misaligned", f"{results}/dataset/real_misaligned.h5"])
    main(["score-images", "--metric", "ssim", "--results", results, "--synthetic", pack])
    main(["gather-matrix", "--metric", "ssim", "--results", results])
    from deepssim.similarity.matrices import read_scores

    assert read_scores(f"{results}/matrices/ssim.h5").scores.shape == (12, 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare-dataset", "--config", "none.yaml"], "none.yaml: cannot be read"),
        (["train-vae"], "dataset/images.csv: does not exist"),
        (["gather-matrix", "--metric", "ssim"], "no such file; run the stage that makes it first"),
        (["embed", "--metric", "ssim", "--pack", "x", "--embeddings", "y"], "ssim reads pixels and has no embeddings"),
        (["score-images", "--real", "x", "--synthetic", "y"], "deepssim compares embeddings; embed the images"),
        (["score-embeddings", "--metric", "ssim", "--real", "x", "--synthetic", "y"], "use `deepssim score-images`"),
        (["score-images", "--metric", "ssim", "--real", "x", "--synthetic", "y"], "x: does not exist"),
        (
            ["score-pairs", "--metric", "ssim", "--pairs", "p.csv", "--real", "x", "--synthetic", "y", "--scores", "s"],
            "p.csv: does not exist",
        ),
        (["show"], "eval/ssim.json: cannot be read"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1


def test_configs_are_checked_by_hand(tmp_path, capsys):
    main(["check-config", str(ROOT / "config" / "config.yaml")])
    assert "all settings are usable" in capsys.readouterr().out
    main(["schema"])
    assert "additionalProperties: false" in capsys.readouterr().out
