"""The whole workflow on a model that copies nothing ends in a page, as a user sees it."""

import json
import shutil

import pytest

from tests.reporting.test_reporting import text_of
from tests.workflow.plans import CHAIN
from tests.workflow.running import snakemake

GOOD = {name: value for name, value in CHAIN.items() if name not in ("tracking", "evaluation")}


def run_with(folder, config):
    path = folder / "own.json"
    path.write_text(json.dumps(config))
    run = snakemake(folder, "--configfile", str(path), timeout=1200)
    assert run.returncode == 0, run.stdout[-4000:]
    return run.stdout


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Results of a generator that is barely trained and copies nothing, with a holdout of other virtual patients."""
    folder = tmp_path_factory.mktemp("good")
    patients = GOOD["dataset"]["virtual_patients"] | {"holdout_patients": 3}
    run_with(folder, GOOD | {"dataset": GOOD["dataset"] | {"virtual_patients": patients}})
    return folder / "results"


def test_a_model_that_copies_nothing_ends_in_a_page(good):
    text = text_of((good / "report" / "index.html").read_text())
    assert (
        "0 of 12 synthetic images copy a training image (copy rate 0 %, 95 % interval by subject 0 % to 52.7 %)" in text
    )
    assert "of 5 real images that the model was not trained on, which cannot be copies, 0 reach it (0 %)" in text
    assert "Not evaluated: " in text
    assert "of deepssim, dar, ssim, fsim: no test pair is of class duplicate" in text
    assert "planted images" not in text
    assert (good / "plots" / "copies.png").stat().st_size > 0


def test_planted_copies_give_f1_that_is_marked_as_planted(good, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(good.parent, folder)
    config = json.loads((folder / "own.json").read_text())
    log = run_with(folder, config | {"evaluation": {"planted": True}})
    assert "rule train_deepssim:" not in log
    assert "rule verify_copies:" not in log
    truth = json.loads((folder / "results" / "eval" / "ssim.json").read_text())
    assert truth["macro_f1"] is None
    assert truth["planted"]["macro_f1"] == 1
    text = text_of((folder / "results" / "report" / "index.html").read_text())
    assert "1.000 1.000 1.000 1.000" in text[text.index("macro-F1 (planted)") :]
    assert "macro-F1 of DeepSSIM on planted copies in place of duplicates" in text
