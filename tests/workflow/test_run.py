"""The whole workflow on a tiny dataset, and what happens when something is wrong."""

import json
import re
import shutil
import zipfile

import pandas as pd
import pytest
import yaml

from deepssim.similarity.matrices import read_scores
from deepssim.similarity.top_scores import TopScores
from tests.conftest import ROOT
from tests.workflow.conftest import TINY
from tests.workflow.running import snakemake, step


def test_every_documented_result_is_there(results):
    text = (ROOT / "results" / "README.md").read_text()
    expected = [
        "report/index.html", "dataset/images.csv", "dataset/real.h5", "dataset/real_misaligned.h5",
        "vae/autoencoder.safetensors", "vae/history.csv", "vae/reconstructions.png", "vae/latents.h5",
        "ldm/unet.safetensors", "ldm/history.csv", "ldm/samples.png", "ldm/train_used.csv",
        "encoders/deepssim.safetensors", "encoders/dar.safetensors", "pairs/train.csv", "eval/summary.csv",
        "plots/benchmark.png", "plots/benchmark.svg",
        "eval/comparison/metrics.json", "eval/comparison/disagreements.csv", "eval/verified.csv", "eval/registered_copies.json",
    ]  # fmt: skip
    for name in expected:
        assert f"`{name}`" in text
        assert (results / name).stat().st_size > 0
    for metric in ("deepssim", "dar", "ssim", "fsim"):
        for name in (
            f"matrices/{metric}.h5",
            f"eval/{metric}_misaligned.json",
            f"plots/{metric}.png",
            f"plots/{metric}.svg",
        ):
            assert (results / name).stat().st_size > 0
    for name in ("ranking", "confusion", "calibration", "copy_rate"):
        assert (results / "plots" / f"{name}.svg").stat().st_size > 0
        assert (results / "plots" / f"{name}.png").stat().st_size > 0
    assert not list(results.rglob(".part-*"))


def test_evaluations_say_how_sure_they_are(results):
    judged = json.loads((results / "eval" / "deepssim.json").read_text())["judged"]
    for name in ("macro_f1", "auroc", "auprc", "precision_at_recall", "fpr_at_recall"):
        interval = judged[name]
        if interval["low"] is None:  # the tiny run has few subjects
            assert re.search("fewer than|needs", interval["method"])
        else:
            assert interval["low"] <= interval["value"] <= interval["high"]
    comparison = json.loads((results / "eval" / "comparison" / "metrics.json").read_text())
    difference = next(row for row in comparison["differences"] if {row["first"], row["second"]} == {"deepssim", "ssim"})
    figures = [json.loads((results / "eval" / f"{difference[side]}.json").read_text()) for side in ("first", "second")]
    expected = figures[0]["macro_f1"] - figures[1]["macro_f1"]
    assert difference["macro_f1_difference"]["value"] == pytest.approx(expected)
    assert comparison["agreement"]["deepssim"]["ssim"] == difference["agreement"]
    apart = pd.read_csv(results / "eval" / "comparison" / "disagreements.csv")
    assert (1 - difference["agreement"]) * comparison["pairs"] <= len(apart) + 1e-9 <= comparison["pairs"] + 1
    assert len(comparison["differences"]) == 6


def test_the_report_of_snakemake_carries_plots_and_captions(results, tmp_path):
    run = snakemake(results.parent, "--configfile", str(TINY), "--report", str(tmp_path / "report.zip"))
    assert run.returncode == 0, run.stdout[-2000:]
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        text = "".join(
            archive.read(name).decode("utf-8", "replace") for name in archive.namelist() if name.endswith(".html")
        )
        names = "\n".join(archive.namelist())
    for name in ("ranking.svg", "confusion.svg", "calibration.svg", "copy_rate.svg", "disagreements.csv"):
        assert name in names
    for part in ("Evaluation", "Copies", "Generative model", "Mean SSIM of test pairs by score"):
        assert part in text


def test_images_and_scores_fit_together(results):
    table = pd.read_csv(results / "dataset" / "images.csv")
    train = table[table["split"] == "train"]
    matrix = read_scores(results / "matrices" / "ssim.h5")
    assert matrix.real_keys == table["key"].tolist()
    assert len(matrix.synth_keys) == 16 * len(train)
    folders = sorted(path.name for path in (results / "synthetic" / "images").iterdir() if path.is_dir())
    assert folders == sorted(key.split("___")[0] for key in train["key"])
    assert len(list((results / "synthetic" / "images").rglob("gen-*.png"))) == len(matrix.synth_keys)


def test_ssim_on_aligned_images_is_the_truth(results):
    figures = json.loads((results / "eval" / "ssim.json").read_text())
    assert figures["macro_f1"] == 1
    assert figures["mean_absolute_difference_to_ssim"] == 0
    assert all(figures["per_class"][name]["pairs"] > 0 for name in ("different", "duplicate", "similar"))
    misaligned = json.loads((results / "eval" / "ssim_misaligned.json").read_text())
    assert misaligned["macro_f1"] < 0.8
    assert figures["provenance"]["config_sha256"] == misaligned["provenance"]["config_sha256"]


def test_every_metric_is_in_the_summary_and_says_where_its_thresholds_come_from(results):
    table = pd.read_csv(results / "eval" / "summary.csv")
    assert table["metric"].tolist() == [name for name in ("deepssim", "dar", "ssim", "fsim") for _ in range(2)]
    assert table["images"].tolist() == ["aligned", "misaligned"] * 4
    fitted = table["metric"].isin(["dar", "fsim"])
    assert (table["thresholds"] == "published").tolist() == (~fitted).tolist()
    assert table.loc[fitted, "thresholds"].str.contains("valid pairs, whose subjects are in no test pair").all()
    for _, both in table.groupby("metric"):
        assert both["duplicate_above"].nunique() == 1  # misaligned scores are judged by the thresholds of aligned ones
    pairs = {name: pd.read_csv(results / "pairs" / f"{name}.csv") for name in ("valid", "test")}
    subjects = [set(one["real_key"].str.split("_t").str[0]) for one in pairs.values()]
    assert not subjects[0] & subjects[1]


def test_a_second_run_has_nothing_to_do(results):
    run = snakemake(results.parent, "--configfile", str(TINY), "--dry-run")
    assert "Nothing to be done" in run.stdout


def test_shards_change_no_figure(results, tmp_path):
    """From the generated images on, everything again in three shards: the same figures, byte for byte.

    That trainings repeat byte for byte is shown where whole runs are killed (test_faults.py) and on a cluster (test_slurm.py).
    """
    folder = tmp_path / "run"
    shutil.copytree(results.parent, folder)
    config = tmp_path / "sharded.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | {"shards": 3}))
    names = ("deepssim.json", "ssim_misaligned.json")
    run = snakemake(folder, *(f"results/eval/{name}" for name in names), "--configfile", str(config))
    assert run.returncode == 0, run.stdout[-4000:]
    assert step("generate") in run.stdout
    assert step("train_vae") not in run.stdout
    for name in names:
        first, second = (json.loads((place / "eval" / name).read_text()) for place in (results, folder / "results"))
        assert first["provenance"].pop("config_sha256") != second["provenance"].pop("config_sha256")
        assert first == second
    encoder = "encoders/deepssim.safetensors"
    assert (results / encoder).read_bytes() == (folder / "results" / encoder).read_bytes()


def test_beyond_the_dense_limit_the_best_of_each_image_are_enough(results, tmp_path):
    """The SSIM matrix again as top-k lists in two shards, and what comes of it: counts of copies stay exactly the same.

    That all plots and the report can be made of lists is shown in stages/test_chain.py.
    """
    folder = tmp_path / "run"
    shutil.copytree(results.parent, folder)
    config = tmp_path / "limit.yaml"
    small = {"shards": 2, "similarity": {"dense_limit": 100, "top_k": 3}}
    config.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | small))
    lists = "results/matrices/deepssim_misaligned.h5"
    run = snakemake(folder, "results/eval/ssim.json", lists, "--configfile", str(config))
    assert run.returncode == 0, run.stdout[-4000:]
    assert isinstance(read_scores(folder / lists), TopScores)
    dense, lists = (
        json.loads((place / "results" / "eval" / "ssim.json").read_text()) for place in (results.parent, folder)
    )
    assert lists["copies"] == dense["copies"]
    assert lists["macro_f1"] == 1
    whole = read_scores(results / "matrices" / "ssim.h5")
    test = pd.read_csv(folder / "results" / "pairs" / "test.csv")
    expected = whole.pair_scores(test["real_key"].tolist(), test["synth_key"].tolist())
    assert (test["ssim"] == expected).all()


def test_bad_data_ends_with_one_sentence(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.png").write_bytes(b"nonsense")
    config = tmp_path / "own.json"
    config.write_text('{"dataset": {"kind": "folder", "path": "images", "valid_fraction": 0, "holdout_fraction": 0}}')
    run = snakemake(tmp_path, "--configfile", str(config))
    assert run.returncode != 0
    assert re.search("'train' has 1 of 1 subjects", run.stdout)
    (tmp_path / "images" / "other.png").write_bytes(b"nonsense")
    run = snakemake(tmp_path, "--configfile", str(config))
    log = (tmp_path / "results" / "logs" / "prepare_dataset.log").read_text()
    *each, last = log.splitlines()
    assert "2 of 2 files" in last
    assert "images/broken.png" in last
    assert [name in line for name, line in zip(("broken.png", "other.png"), each, strict=True)] == [True, True]
    assert log.strip() in run.stdout
    assert "Traceback" not in run.stdout
    assert not list((tmp_path / "results").rglob("*.h5"))


@pytest.mark.parametrize("content", [{"device": "cuda"}])
def test_a_missing_gpu_is_one_sentence_and_loses_nothing(content, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = tmp_path / "own.json"
    config.write_text(json.dumps(yaml.safe_load(TINY.read_text()) | content))
    run = snakemake(tmp_path, "results/vae/autoencoder.safetensors", "--configfile", str(config))
    assert run.returncode != 0
    assert "device is 'cuda'" in run.stdout
    assert "Traceback" not in run.stdout
    assert (tmp_path / "results" / "dataset" / "real.h5").exists()
