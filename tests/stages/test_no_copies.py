"""All stages from the synthetic images on, where the model copies nothing: every file is written, no number is made up."""

import json
import shutil

import pandas as pd
import pytest

from deepssim.cli import main
from deepssim.ground_truth.labels import Label
from deepssim.images.packs import read_pack, write_pack
from tests.reporting.test_reporting import text_of
from tests.stages.jobs import run_job
from tests.workflow.plans import CHAIN, Job

BEFORE = {"prepare_dataset", "train_vae", "encode_latents", "train_ldm", "train_dar", "generate"}
EVALUATION = {
    "fit_thresholds", "evaluate", "summarize", "compare_metrics", "plot_metric", "plot_benchmark", "plot_evaluation", "plot_summary",
    "report",
}  # fmt: skip
ZERO = "0 of 12 synthetic images copy a training image (copy rate 0 %, 95 % interval by subject 0 % to 52.7 %)"


def again(chain, folder, rules, change=lambda job: job):
    """Run the jobs of some rules once more, with files changed."""
    for job in chain.jobs:
        if job.rule in rules:
            for path in (folder / path for path in job.outputs.values()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            run_job(folder, change(job), CHAIN)


@pytest.fixture(scope="module")
def planted(chain, tmp_path_factory):
    """Results of a model that copies nothing, with planted copies: the images that the barely trained one made itself."""
    folder = tmp_path_factory.mktemp("good") / "run"
    shutil.copytree(chain.folder, folder, symlinks=True)
    write_pack(folder / "results" / "synthetic" / "000.h5", chain.generated)
    again(chain, folder, {job.rule for job in chain.jobs} - BEFORE)
    return folder / "results"


@pytest.fixture(scope="module")
def good(chain, planted, tmp_path_factory):
    """The same where the metrics are not tested on planted copies, which is the default."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    shutil.copytree(planted.parent, folder, symlinks=True)
    again(chain, folder, EVALUATION, without_planted)
    return folder / "results"


def without_planted(job):
    inputs = {name: path for name, path in job.inputs.items() if name != "planted"}
    return Job(**(vars(job) | {"inputs": inputs}))


def evaluation(results, name):
    return json.loads((results / "eval" / f"{name}.json").read_text())


def test_the_rate_of_copies_is_zero_with_an_interval(good):
    found = evaluation(good, "registered_copies")
    assert found["copies"]["synthetic_copies"] == 0
    assert found["copies"]["synthetic_interval"]["low"] == 0
    assert 0 < found["copies"]["synthetic_interval"]["high"] < 1
    assert found["controls"]["kind"] == "real images that the model was not trained on"
    assert found["controls"]["images"] == 2
    assert found["controls"]["copies"] == 0
    assert found["controls"]["highest_ssim"] < 0.85


def test_the_untrained_autoencoder_hides_copies_and_the_others_are_found(good):
    found = evaluation(good, "registered_copies")["planted"]
    assert found["autoencoder"]["value"] == 0
    assert all(found[change]["value"] == 1 for change in ("soft", "noise 0.01", "JPEG 70"))


@pytest.mark.parametrize("variant", ["", "_misaligned"])
@pytest.mark.parametrize("metric", ["deepssim", "ssim", "dar", "fsim"])
def test_what_needs_duplicates_is_undefined(good, metric, variant):
    found = evaluation(good, f"{metric}{variant}")
    assert found["macro_f1"] is found["weighted_f1"] is None
    assert found["planted"] is None
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
    assert len(comparison["differences"]) == 6
    assert all(row["macro_f1_difference"]["value"] is None for row in comparison["differences"])
    assert "duplicate" in comparison["undefined"]["deepssim.macro_f1"]


def test_every_plot_says_what_it_cannot_show(good):
    assert "undefined" in (good / "plots" / "summary.svg").read_text()
    assert "test pairs are duplicates" in (good / "plots" / "ranking.svg").read_text()
    assert "no thresholds" in (good / "plots" / "copy_rate.svg").read_text()
    assert "duplicate (0 pairs)" in (good / "plots" / "dar.svg").read_text()


def test_the_report_begins_with_the_rate_and_with_what_was_not_evaluated(good):
    text = text_of((good / "report" / "index.html").read_text())
    assert f"training images? Cannot tell: {ZERO}" in text
    assert text.index("Not evaluated: ") < text.index("How far the verdict reaches")
    assert "of deepssim, dar, ssim, fsim: no test pair is of class duplicate" in text
    assert "planted images" not in text


def test_show_prints_the_same(good, capsys):
    main(["show", str(good)])
    text = capsys.readouterr().out
    assert text.startswith(f"Cannot tell: {ZERO}")
    assert "Not evaluated: " in text
    assert "undefined (misaligned undefined)" in text


def test_planted_copies_test_the_metrics_and_are_marked(planted, capsys):
    table = pd.read_csv(planted / "pairs" / "planted.csv")
    mild = table["change"].isin(["soft", "noise 0.01", "JPEG 70"])
    assert (table.loc[mild, "label"] == Label.DUPLICATE).all()
    assert set(table["split"]) == {"train", "valid", "test"}
    truth = evaluation(planted, "ssim")
    assert truth["macro_f1"] is None
    assert truth["planted"]["planted_pairs"] == (table["split"] == "test").sum()
    assert truth["planted"]["per_class"]["duplicate"]["f1"] == 1
    assert "planted" in evaluation(planted, "dar")["thresholds"]["source"]
    text = text_of((planted / "report" / "index.html").read_text())
    assert "Planted copies: Metrics were also tested on" in text
    assert "The thresholds of dar, fsim were fitted with planted images." in text
    assert "ssim, planted misaligned" in text
    main(["show", str(planted)])
    assert "macro-F1 of DeepSSIM on planted copies" in capsys.readouterr().out


def test_planted_copies_are_never_counted_as_synthetic_images(planted, good):
    for name in ("ssim", "deepssim_misaligned", "registered_copies"):
        counts = [evaluation(results, name)["copies"] for results in (planted, good)]
        assert counts[0] == counts[1]
        assert counts[0]["synthetic_images"] == len(read_pack(good / "synthetic" / "000.h5").keys)


@pytest.mark.parametrize("recipe", ["all_pairs", "paper"])
def test_the_encoder_is_trained_where_there_are_no_pairs_at_all(chain, tmp_path, recipe):
    folder = tmp_path / "run"
    shutil.copytree(chain.folder, folder, symlinks=True)
    (job,) = [job for job in chain.jobs if job.rule == "train_deepssim"]
    for name in ("train", "valid"):
        table = pd.read_csv(folder / job.inputs[name])
        table.head(0).to_csv(folder / job.inputs[name], index=False)
    (folder / job.outputs["weights"]).unlink()
    config = job.params["config"]
    config = config | {"encoder": config["encoder"] | {"recipe": recipe}}
    run_job(folder, Job(**(vars(job) | {"params": job.params | {"config": config}})), CHAIN)
    assert pd.read_csv(folder / job.outputs["history"])["valid_loss"].notna().any()


def test_no_test_pairs_at_all_end_in_a_page(chain, good, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(good.parent, folder, symlinks=True)
    test = folder / "results" / "pairs" / "test.csv"
    pd.read_csv(test).head(0).to_csv(test, index=False)
    again(chain, folder, EVALUATION, without_planted)
    text = text_of((folder / "results" / "report" / "index.html").read_text())
    assert "macro-F1, " in text
    assert "of deepssim, dar, ssim, fsim: there are no test pairs." in text
    assert evaluation(folder / "results", "ssim")["pairs"] == 0
    assert ZERO in text


def test_planted_copies_set_thresholds_only_where_no_valid_pair_is_a_duplicate(chain):
    """The chain with copies also has planted ones; its thresholds are those of its own valid pairs."""
    source = evaluation(chain.results, "dar")["thresholds"]["source"]
    assert "planted" not in source
    assert evaluation(chain.results, "dar")["planted"]["planted_pairs"] > 0
