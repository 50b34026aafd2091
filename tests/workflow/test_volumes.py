"""The whole workflow on tiny volumes, as a user runs it."""

import json

import pandas as pd
import pytest

from deepssim.images.packs import read_pack
from tests.conftest import ROOT
from tests.workflow.running import snakemake

TINY = ROOT / "tests" / "workflow" / "tiny_volumes.yaml"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    run = snakemake(folder, "--configfile", str(TINY))
    assert run.returncode == 0, run.stdout[-4000:]
    return folder / "results"


def test_volumes_go_through_every_step(results):
    assert read_pack(results / "dataset" / "real.h5").images.shape == (6, 16, 20, 16)
    synthetic = read_pack(results / "synthetic" / "000.h5")
    assert synthetic.images.shape == (32, 16, 20, 16)
    assert len(list((results / "synthetic" / "images").rglob("gen-*.nii.gz"))) == 32
    for name in (
        "report/index.html",
        "plots/benchmark.png",
        "plots/copies.png",
        "ldm/samples.png",
        "vae/reconstructions.png",
    ):
        assert (results / name).stat().st_size > 0
    table = pd.read_csv(results / "eval" / "summary.csv")
    assert table["metric"].tolist() == ["deepssim"] * 2 + ["ssim"] * 2
    evaluation = json.loads((results / "eval" / "deepssim.json").read_text())
    assert evaluation["mean_absolute_difference_to_ssim"] < 0.2
    assert not list(results.rglob(".part-*"))


def test_the_model_has_learned_the_heads(results):
    """Reconstructions of heads that it did not see, and samples, are heads: noise has an SSIM near 0 with them."""
    history = pd.read_csv(results / "vae" / "history.csv")
    assert history["reconstruction_ssim"].iloc[-1] > 0.6
    memorized = pd.read_csv(results / "ldm" / "history.csv")["nearest_ssim"].dropna()
    assert memorized.iloc[-1] > 0.3


def test_a_second_run_has_nothing_to_do(results):
    run = snakemake(results.parent, "--configfile", str(TINY), "--dry-run")
    assert "Nothing to be done" in run.stdout
