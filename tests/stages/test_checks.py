"""What `deepssim check-config` finds: everything that a run would stop at, in one go."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from deepssim.cli import main
from tests.conftest import ROOT


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder with six images of six patients, one of whose names does not name a patient, and a table of them."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    names = [f"sub-{number}_t1.png" for number in range(5)] + ["other.png"]
    (tmp_path / "images").mkdir()
    for name in names:
        Image.fromarray(random.integers(0, 255, (48, 40), dtype=np.uint8)).save(tmp_path / "images" / name)
    table = pd.DataFrame({"image_uid": range(6), "image_path": [f"images/{name}" for name in names], "age_norm": 0.5})
    table.to_csv(tmp_path / "images.csv", index=False)
    return tmp_path


def check(settings, study, *options):
    (study / "my.yaml").write_text(yaml.safe_dump(settings))
    main(["check-config", str(study / "my.yaml"), *options])


def problems(settings, study, capsys, *options):
    with pytest.raises(SystemExit) as stop:
        check(settings, study, *options)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_a_usable_config_passes_from_any_folder(study, capsys, monkeypatch, tmp_path_factory):
    settings = {"dataset": {"kind": "folder", "path": "images", "valid_fraction": 0.4, "holdout_fraction": 0}}
    check(settings, study)
    assert "nothing was found that would stop a run" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "images: does not exist (dataset.path)" in problems(settings, study, capsys)
    check(settings, study, "--directory", str(study))


def test_the_default_config_passes(capsys, study):
    main(["check-config", str(ROOT / "config" / "config.yaml")])
    assert "nothing was found" in capsys.readouterr().out


def test_unusable_settings_do_not_hide_what_else_would_stop_a_run(study, capsys):
    settings = {
        "dataset": {"kind": "folder", "path": "nowhere", "image_size": [50, 50]},
        "vae": {"epochs": 0}, "evaluation": {"metrics": ["chen"]},
    }  # fmt: skip
    found = problems(settings, study, capsys)
    assert "my.yaml: 4 things would stop a run:\n" in found
    for sentence in (
        "vae.epochs is 0; it must be greater than or equal to 1",
        "images of 50x50 cannot be halved 3 times by the autoencoder",
        "metric 'chen' needs published weights",
        f"nowhere: does not exist (dataset.path); name the folder relative to {study}, or by its full path",
    ):
        assert f"\n  {sentence}" in found


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"kind": "folder", "path": "images", "subject_pattern": r"^(sub-\d)"},
         r"images: no subject found by dataset.subject_pattern '^(sub-\d)' in the paths of 1 of 6 files, first other.png"),
        ({"kind": "folder", "path": "images", "valid_fraction": 0}, "split 'holdout' has"),
        ({"kind": "folder", "path": "images", "file_patterns": ["*.nii"]}, "check dataset.path and dataset.file_patterns"),
        ({"kind": "folder", "path": "images", "image_size": None, "valid_fraction": 0.4}, "images of 48x40 cannot be halved 4 times"),
        ({"kind": "table", "path": "images"}, "images: cannot be read as CSV"),
        ({"kind": "table", "path": "other.csv"}, "other.csv: does not exist (dataset.path); name the CSV file"),
    ],
)  # fmt: skip
def test_what_the_data_set_lacks(study, capsys, settings, sentence):
    found = problems({"dataset": settings, "vae": {"channels": [8, 8, 8, 8, 8], "norm_groups": 8}}, study, capsys)
    assert sentence in found


def test_conditions_need_their_columns(study, capsys):
    table = {"kind": "table", "path": "images.csv", "valid_fraction": 0.4, "holdout_fraction": 0}
    check({"dataset": table, "ldm": {"conditioning": "variables", "condition_columns": ["age_norm"]}}, study)
    found = problems({"dataset": table, "ldm": {"conditioning": "variables"}}, study, capsys)
    assert (
        "images.csv: has no column 'sex_norm', which ldm.conditioning 'variables' needs (5 of 6 are missing)" in found
    )
    found = problems({"dataset": table, "ldm": {"conditioning": "text"}}, study, capsys)
    assert "images.csv: has no column 'caption_emb_path'" in found


def test_packages_and_models_that_are_missing(study, capsys, monkeypatch):
    monkeypatch.setattr("deepssim.stages.checks.find_spec", lambda name: None)
    settings = {
        "vae": {"perceptual": "squeeze"}, "synthesis": {"sampler": "dpm_solver"}, "tracking": {"wandb_project": "x"},
        "encoder": {"backbone": "models/none/here"},
    }  # fmt: skip
    found = problems(settings, study, capsys)
    assert "vae.perceptual 'squeeze' needs torchvision and lpips, which are not installed" in found
    assert "synthesis.sampler 'dpm_solver' needs diffusers, which is not installed" in found
    assert "tracking.wandb_project needs wandb, which is not installed" in found
    assert "encoder.backbone 'models/none/here' does not exist" in found


def test_an_audit_needs_its_folders_and_files(study, capsys):
    (study / "other.csv").write_text("name\n1\n")
    with zipfile.ZipFile(study / "encoder.pt", "w") as archive:
        archive.writestr("code", "")
    settings = {
        "real": "images", "synthetic": "none", "holdout": "images.csv", "subjects": "other.csv", "encoder": "encoder.pt",
        "autoencoder": "images.csv",
    }  # fmt: skip
    found = problems({"audit": settings}, study, capsys)
    assert "my.yaml: 5 things would stop a run:\n" in found
    for sentence in (
        "none: is not a folder; name a folder with images",
        "images.csv: is not a folder; name a folder with images",
        "other.csv: lacks 2 of 2 required columns, first 'image_path'",
        "encoder.pt: loading a file of this kind can run code",
        "images.csv: is not an autoencoder of this program; name its autoencoder.safetensors",
    ):
        assert f"\n  {sentence}" in found
