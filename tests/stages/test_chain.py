"""All stages one after the other, each with the files and settings of its rule: what the next one reads, the last one wrote."""

import json
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from deepssim.cli import main
from deepssim.images.packs import open_packs, read_pack, write_pack
from deepssim.runtime.records import verify
from deepssim.similarity.embeddings import read_embeddings
from deepssim.similarity.matrices import read_scores
from deepssim.similarity.top_scores import TopScores
from tests.conftest import ROOT
from tests.stages.jobs import run_job, run_rule
from tests.workflow.plans import CHAIN, LISTS
from tests.workflow.test_rules import RULES

SHARDS = 8
SCORING = ("seed", "device", "shards", "similarity", "synthesis.images_per_record")
FROM_SCORES = {
    "score_images", "score_embeddings", "gather_matrix", "sample_pairs", "verify_copies", "fit_thresholds", "evaluate", "summarize",
    "compare_metrics", "plot_metric", "plot_benchmark", "plot_evaluation", "plot_summary", "plot_copies", "report",
}  # fmt: skip
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
    found = verify(chain.results)
    assert found.results > 50
    assert found.problems == [f"{chain.results}/synthetic/000.h5: has changed since it was written"]


def test_show_names_the_results_and_the_main_numbers(chain, capsys):
    main(["show", str(chain.results)])
    text = capsys.readouterr().out
    evaluations = [json.loads((chain.results / "eval" / f"{name}.json").read_text()) for name in ("ssim", "deepssim")]
    copies = evaluations[0]["copies"]
    for part in (
        str(chain.results / "report" / "index.html"), f"{evaluations[1]['macro_f1']:.3f}",
        f"({copies['synthetic_copies']} of {copies['synthetic_images']})",
    ):  # fmt: skip
        assert part in text


def test_copies_are_also_counted_after_registration(chain):
    aligned, registered = (
        json.loads((chain.results / "eval" / f"{name}.json").read_text())["copies"]
        for name in ("ssim", "registered_copies")
    )
    assert set(registered) == set(aligned)
    assert registered["synthetic_copies"] >= aligned["synthetic_copies"] > 0
    table = pd.read_csv(chain.results / "eval" / "verified.csv")
    assert len(table) == aligned["synthetic_images"]
    found = table.merge(pd.read_csv(chain.results / "pairs" / "test.csv"), on=["real_key", "synth_key"])
    assert len(found) > 0
    np.testing.assert_allclose(found["ssim_x"], found["ssim_y"], atol=1e-5)


def test_the_report_shows_the_histogram_of_every_metric_once_and_every_other_plot(chain):
    page = (chain.results / "report" / "index.html").read_text()
    (job,) = [job for job in chain.jobs if job.rule == "report"]
    assert len(job.inputs["histograms"]) == 4
    others = (
        "summary_plot", "copies", "reconstructions", "samples", "ranking", "confusion", "calibration", "copy_rate",
    )  # fmt: skip
    assert page.count("<img ") == 4 + len(others)
    for metric in ("deepssim", "dar", "ssim", "fsim"):
        assert page.count(f'<th scope="row">{metric}</th>') == 2  # aligned and misaligned


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


def test_lists_of_the_best_scores_are_enough_for_all_that_follows(chain, plans, tmp_path):
    """Every job from the scores on again, where a file holds the best of each image and the labelled pairs only."""
    folder, config = tmp_path / "lists", CHAIN | LISTS
    shutil.copytree(chain.folder, folder)
    jobs = {tuple(job.outputs.values()): job for job in plans["lists"].jobs}
    again = [jobs[tuple(job.outputs.values())] for job in chain.jobs if job.rule in FROM_SCORES]
    assert {job.rule for job in again} == FROM_SCORES
    for job in again:
        (folder / next(iter(job.outputs.values()))).unlink()
        run_job(folder, job, config)
    for metric in ("ssim", "deepssim", "fsim_misaligned"):
        assert isinstance(read_scores(folder / "results" / "matrices" / f"{metric}.h5"), TopScores)
    dense, lists = (
        json.loads((place / "results" / "eval" / "ssim.json").read_text()) for place in (chain.folder, folder)
    )
    assert lists["copies"] == dense["copies"]
    assert lists["macro_f1"] == 1
    page = (folder / "results" / "report" / "index.html").read_text()
    assert page.count("<img ") == (chain.results / "report" / "index.html").read_text().count("<img ")


def test_misaligned_scores_are_judged_by_the_thresholds_of_aligned_ones(chain):
    for metric in ("dar", "fsim"):
        both = [
            json.loads((chain.results / "eval" / f"{metric}{kind}.json").read_text()) for kind in ("", "_misaligned")
        ]
        assert both[0]["thresholds"] == both[1]["thresholds"]
        assert [item["misaligned"] for item in both] == [False, True]


def generate(chain, folder, shards, shard):
    results = chain.results
    inputs = {
        "train_used": results / "ldm" / "train_used.csv", "latents": results / "vae" / "latents.h5",
        "autoencoder": results / "vae" / "autoencoder.safetensors", "unet": results / "ldm" / "unet.safetensors",
    }  # fmt: skip
    run_rule(
        folder, "generate", CHAIN | {"shards": shards}, inputs={name: str(path) for name, path in inputs.items()},
        settings=("seed", "device", "shards", "synthesis", "dataset.bit_depth"), outputs={"pack": f"{shard:03d}.h5"},
        wildcards={"shard": f"{shard:03d}"},
    )  # fmt: skip


def embed(chain, folder, name):
    """Embed `<name>.h5` of the folder into `embeddings-<name>.h5`."""
    weights = str(chain.results / "encoders" / "deepssim.safetensors")
    run_rule(
        folder, "embed", CHAIN, settings=("device", "evaluation.embedding_batch_size", "evaluation.embedding_precision", "published"),
        inputs={"weights": weights, "pack": f"{name}.h5"}, outputs={"embeddings": f"embeddings-{name}.h5"},
        wildcards={"metric": "deepssim"},
    )  # fmt: skip


def score(chain, folder, metric, name, shards=1, shard=0):
    """Score `<name>.h5`, or its embeddings, into `<metric>-<name>.h5`."""
    rule, real, prefix = {
        "ssim": ("score_images", "dataset/real.h5", ""),
        "deepssim": ("score_embeddings", "embeddings/deepssim/real.h5", "embeddings-"),
    }[metric]
    inputs = {"real": str(chain.results / real), "synthetic": f"{prefix}{name}.h5",
              "train_used": str(chain.results / "ldm" / "train_used.csv")}  # fmt: skip
    run_rule(folder, rule, CHAIN | {"shards": shards}, settings=SCORING, inputs=inputs, outputs={"matrix": f"{metric}-{name}.h5"},
             wildcards={"metric": metric, "shard": f"{shard:03d}"})  # fmt: skip


def scores_of(path):
    with h5py.File(path) as file:
        return file["scores"][:], file["real_keys"].asstr()[:].tolist(), file["synth_keys"].asstr()[:].tolist()


def test_eight_shards_equal_one(chain, tmp_path):
    write_pack(tmp_path / "whole.h5", chain.generated)
    embed(chain, tmp_path, "whole")
    names = [f"{shard:03d}" for shard in range(SHARDS)]
    for shard, name in enumerate(names):
        generate(chain, tmp_path, SHARDS, shard)
        embed(chain, tmp_path, name)
        for metric in ("ssim", "deepssim"):
            score(chain, tmp_path, metric, name, SHARDS, shard)
    with open_packs([str(tmp_path / f"{name}.h5") for name in names]) as joined:
        assert joined.keys == chain.generated.keys
        np.testing.assert_array_equal(joined.images[:], chain.generated.images)
    values = np.concatenate([read_embeddings(tmp_path / f"embeddings-{name}.h5").values for name in names])
    np.testing.assert_array_equal(values, read_embeddings(tmp_path / "embeddings-whole.h5").values)
    for metric in ("ssim", "deepssim"):
        score(chain, tmp_path, metric, "whole")
        run_rule(tmp_path, "gather_matrix", CHAIN, inputs={"shards": [f"{metric}-{name}.h5" for name in names]},
                 outputs={"matrix": "all.h5"}, wildcards={"metric": metric})  # fmt: skip
        for one, two in zip(scores_of(tmp_path / "all.h5"), scores_of(tmp_path / f"{metric}-whole.h5"), strict=True):
            np.testing.assert_array_equal(one, two)


def test_the_model_itself_made_different_images(chain):
    """Otherwise equal shards would prove nothing."""
    images = chain.generated.images.astype(int)
    assert all(np.abs(images[0] - other).max() > 20 for other in images[1:])
    assert read_pack(chain.results / "synthetic" / "000.h5").keys == chain.generated.keys


def test_more_shards_than_images_are_refused_in_one_sentence(chain, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        generate(chain, tmp_path, 1000, 0)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "1000" in error
    assert "12 images" in error
    assert "Traceback" not in error
