"""All stages from the synthetic images on, where the model copies nothing: every file is written, no number is made up."""

import json
import shutil

import pandas as pd
import pytest

from deepssim.images.packs import write_pack
from tests.stages.jobs import run_job
from tests.workflow.plans import CHAIN

BEFORE = {"prepare_dataset", "train_vae", "encode_latents", "train_ldm", "train_dar", "generate"}


@pytest.fixture(scope="module")
def good(chain, tmp_path_factory):
    """Results of a model that copies nothing: the images that the barely trained one made itself."""
    folder = tmp_path_factory.mktemp("good") / "run"
    shutil.copytree(chain.folder, folder)
    write_pack(folder / "results" / "synthetic" / "000.h5", chain.generated)
    for job in chain.jobs:
        if job.rule not in BEFORE:
            for path in job.outputs.values():
                (shutil.rmtree if (folder / path).is_dir() else (folder / path).unlink.__func__)(folder / path)
            run_job(folder, job, CHAIN)
    return folder / "results"


def evaluation(results, name):
    return json.loads((results / "eval" / f"{name}.json").read_text())


def test_the_rate_of_copies_is_zero_with_an_interval(good):
    copies = evaluation(good, "registered_copies")["copies"]
    assert copies["synthetic_copies"] == 0
    assert copies["synthetic_interval"]["low"] == 0
    assert 0 < copies["synthetic_interval"]["high"] < 1


@pytest.mark.parametrize("variant", ["", "_misaligned"])
@pytest.mark.parametrize("metric", ["deepssim", "ssim", "dar", "fsim"])
def test_what_needs_duplicates_is_undefined(good, metric, variant):
    found = evaluation(good, f"{metric}{variant}")
    assert found["macro_f1"] is found["weighted_f1"] is None
    assert found["judged"]["macro_f1"]["value"] is found["judged"]["auroc"]["value"] is None
    assert "duplicate" in found["undefined"]["macro_f1"]
    assert "duplicate" in found["judged"]["auroc"]["method"]
    fitted = metric in ("dar", "fsim")
    assert (found["copies"] is None) == fitted
    if fitted:
        assert "could not be fitted" in found["undefined"]["copies"]
    assert found["mean_absolute_difference_to_ssim"] >= 0


def test_summary_and_comparison_leave_out_what_is_undefined(good):
    table = pd.read_csv(good / "eval" / "summary.csv")
    assert len(table) == 8
    assert table["macro_f1"].isna().all()
    comparison = json.loads((good / "eval" / "comparison" / "metrics.json").read_text())
    assert all(row["macro_f1_difference"]["value"] is None for row in comparison["differences"])
    assert "duplicate" in comparison["undefined"]["deepssim.macro_f1"]


def test_every_plot_says_what_it_cannot_show(good):
    assert "undefined" in (good / "plots" / "summary.svg").read_text()
    assert "of 0 test pairs are duplicates" in (good / "plots" / "ranking.svg").read_text().replace("\n", " ") or (
        "test pairs are duplicates" in (good / "plots" / "ranking.svg").read_text()
    )
