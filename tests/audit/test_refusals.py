"""What no audit can answer is refused in one sentence, before images are decoded where that is possible."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepssim.cli import main
from tests.audit.folders import drawing, make_folders, tiny_encoder, write


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Folders in the working directory, so that messages quote short paths."""
    monkeypatch.chdir(tmp_path)
    return make_folders(tmp_path, real=8, synthetic=6, holdout=6, copies=2)


def refused(capsys, *arguments, real="real", synthetic="synthetic", decoded=False):
    """Return the message of an audit, whose exit code is 1."""
    with pytest.raises(SystemExit) as stop:
        main(["audit", real, synthetic, "--out", "report", *arguments])
    assert stop.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert not Path("report").exists()
    assert not [line for line in lines if "Traceback" in line]
    assert any(re.search(r"files: .* decoded", line) for line in lines) is decoded
    return lines[-1].partition(" ERROR ")[2]


def test_the_same_folder_twice(folders, capsys):
    assert refused(capsys, synthetic="real") == (
        "real is given as the folder of synthetic images and, as real, as that of training images, but every image is like itself; "
        "name a folder of the images that the generator made"
    )
    (folders / "link").symlink_to("real")
    assert refused(capsys, "--holdout", "link").startswith(
        "link is given as the folder of held-out images and, as real, as that of training images, but every image is like itself"
    )
    assert refused(capsys, "--holdout", "synthetic/../synthetic").startswith(
        "synthetic/../synthetic is given as the folder of held-out images and, as synthetic, as that of synthetic images"
    )


def test_a_folder_in_another_one(folders, capsys):
    shutil.move(folders / "synthetic", folders / "real" / "samples")
    assert refused(capsys, synthetic="real/samples") == (
        "real/samples (synthetic) and real (real) have 6 files in common, first s00.png; name folders that do not contain each "
        "other, or leave the common files out with --exclude"
    )


def test_the_same_files_under_other_names(folders, capsys):
    (folders / "again").mkdir()
    for number, path in enumerate(sorted((folders / "real").iterdir())):
        shutil.copy(path, folders / "again" / f"x{number}.png")
    assert refused(capsys, synthetic="again") == (
        "again holds the same files as real, 8 different ones, but the one is given as the folder of synthetic images and the other "
        "as that of training images; name a folder of the images that the generator made"
    )
    assert refused(capsys, "--holdout", "again") == (
        "again holds the same files as real, 8 different ones, but the one is given as the folder of held-out images and the other "
        "as that of training images; name a folder of images of patients that the generator has not seen"
    )


def test_a_holdout_of_training_images(folders, capsys):
    """The same pixels in other files."""
    for path in sorted((folders / "real").iterdir())[:5]:
        with Image.open(path) as image:
            write(folders / "some" / f"{path.stem}.bmp", np.asarray(image))
    assert refused(capsys, "--holdout", "some", decoded=True) == (
        "some: all 5 held-out images are training images of real, too; name a folder of images of patients that the generator has not "
        "seen, or leave --holdout (audit.holdout) away"
    )


def test_training_images_and_holdout_in_each_others_place(folders, capsys):
    assert refused(capsys, "--holdout", "real", real="holdout", decoded=True) == (
        "synthetic: 2 of 6 synthetic images are equal in every pixel to held-out images, and 0 to training images, as if holdout and "
        "real were swapped; name first the generator's training images, and as holdout images of patients that the generator has not "
        "seen"
    )


def test_one_patient_for_all_images(folders, capsys):
    assert refused(capsys, "--subject-pattern", "^(p)") == (
        "--subject-pattern '^(p)' (audit.subject_pattern) takes all 8 training and held-out files for images of one patient, 'p', "
        "but only images of different patients show how alike unrelated images are; correct it, or leave it away if every file is of "
        "another patient"
    )
    names = [path.name for path in (folders / "real").iterdir()]
    pd.DataFrame({"image_path": names, "subject": "somebody"}).to_csv("table.csv", index=False)
    assert refused(capsys, "--subjects", "table.csv", decoded=True).startswith(
        "table.csv: the table of subjects (--subjects, audit.subjects) takes all 8 training and held-out files for images of one "
        "patient, 'somebody'"
    )


def test_images_too_small_for_the_encoder(folders, capsys):
    tiny_encoder(folders / "e.safetensors")
    assert refused(capsys, "--encoder", "e.safetensors", "--image-size", "8", "8") == (
        "images of 8x8 are too small for the encoder, which needs 16x16; raise --image-size (audit.image_size)"
    )
    assert refused(capsys, "--thorough", "--image-size", "8", "8") == (
        "images of 8x8 are too small for the encoder, which needs 32x32; raise --image-size (audit.image_size)"
    )
    assert refused(capsys, "--encoder", "none.safetensors") == (
        "none.safetensors: does not exist; name an existing encoder file"
    )


def test_a_report_among_the_images(folders, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["audit", "real", "synthetic", "--out", "real/report"])
    assert stop.value.code == 1
    assert capsys.readouterr().err.partition(" ERROR ")[2] == (
        "real/report: the report would be written into real, the folder of training images; name another folder\n"
    )


def test_copies_of_files_are_a_finding(folders, capsys):
    """All training images are among the synthetic ones, but these are more."""
    for path in (folders / "real").iterdir():
        shutil.copy(path, folders / "synthetic")
    (folders / "own.json").write_text(json.dumps({"audit": {"compared_at": 64, "controls": 1, "bootstrap": 10}}))
    with pytest.raises(SystemExit) as stop:
        main(["audit", "real", "synthetic", "--out", "report", "--config", "own.json"])
    assert stop.value.code == 3
    assert "10 are identical to a training image in every pixel" in capsys.readouterr().out


def test_one_file_on_each_side_can_be_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for side in ("real", "synthetic"):
        write(tmp_path / side / "x.png", drawing(np.random.default_rng(len(side))))
    with pytest.raises(SystemExit) as stop:
        main(["audit", "real", "synthetic", "--out", "report", "--subject-pattern", "^(x)"])
    assert stop.value.code == 4  # one subject cannot set a limit, and is not refused
