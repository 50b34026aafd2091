"""All stages one after the other, each with the files and settings of its rule: what the next one reads, the last one wrote."""

import json
import re

import pandas as pd
import pytest

from deepssim.images.packs import read_pack
from deepssim.runtime.records import verify
from tests.conftest import ROOT
from tests.workflow.test_rules import RULES

TRAININGS = {"train_vae": "vae", "train_ldm": "ldm", "train_deepssim": "encoders", "train_dar": "encoders"}


def test_every_rule_ran(chain):
    assert {job.rule for job in chain.jobs} == set(RULES) - {"audit"}
    for job in chain.jobs:
        for path in job.outputs.values():
            assert (chain.folder / path).exists(), path
    assert not list(chain.results.rglob(".part-*"))


def test_what_was_generated_fits_its_records(chain):
    table = pd.read_csv(chain.results / "dataset" / "images.csv")
    train = table[table["split"] == "train"]
    assert len(chain.generated.keys) == 3 * len(train) == 12
    assert chain.generated.images.shape[1:] == (24, 24)
    tree = {path.parent.name for path in (chain.results / "synthetic" / "images").rglob("gen-*.png")}
    assert tree == {key.split("___")[0] for key in train["key"]}
    assert read_pack(chain.results / "dataset" / "real.h5").keys == table["key"].tolist()


def test_tracking_reaches_every_training(chain):
    """Each has a state of its own, in which its run is recorded for Weights & Biases."""
    pytest.importorskip("wandb")
    states = set()
    for rule, folder in TRAININGS.items():
        messages = (chain.results / "logs" / f"{rule}.log").read_text()
        (state,) = set(re.findall(rf"results/{folder}/state/(\w+)", messages))
        (record,) = (chain.results / folder / "state" / state / "wandb").glob("offline-run-*/run-*.wandb")
        assert b"train_loss" in record.read_bytes()
        states.add(state)
    assert len(states) == len(TRAININGS)


def test_every_result_has_its_record(chain):
    """All but the pack that was changed by hand, and all that was made from what the model had generated."""
    count, problems = verify(chain.results)
    assert count > 50
    assert problems == [f"{chain.results}/synthetic/000.h5: has changed since it was made"]


def test_the_report_shows_the_histogram_of_every_metric_once_and_no_other_plot(chain):
    page = (chain.results / "report" / "index.html").read_text()
    (job,) = [job for job in chain.jobs if job.rule == "report"]
    assert len(job.inputs["histograms"]) == 4
    others = ("summary_plot", "copies", "reconstructions", "samples")
    assert page.count("<img ") == 4 + len(others)
    for metric in ("deepssim", "dar", "ssim", "fsim"):
        assert page.count(f"<td>{metric}</td>") == 2  # aligned and misaligned


def test_results_are_those_that_the_readme_explains(chain):
    text = (ROOT / "results" / "README.md").read_text()
    explained = set(re.findall(r"`([\w<>./*-]+)`", text))
    for name in (
        "dataset/images.csv",
        "vae/autoencoder.safetensors",
        "eval/comparison/metrics.json",
        "report/index.html",
    ):
        assert name in explained
        assert (chain.results / name).stat().st_size > 0


def test_misaligned_scores_are_judged_by_the_thresholds_of_aligned_ones(chain):
    for metric in ("dar", "fsim"):
        both = [
            json.loads((chain.results / "eval" / f"{metric}{kind}.json").read_text()) for kind in ("", "_misaligned")
        ]
        assert both[0]["thresholds"] == both[1]["thresholds"]
        assert [item["misaligned"] for item in both] == [False, True]
