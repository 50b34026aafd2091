"""Pictures and pages are made, deterministic and self-contained."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepssim.config.choices import MetricName
from deepssim.errors import DataError
from deepssim.evaluation.fitting import PUBLISHED, SourcedThresholds
from deepssim.evaluation.summary import summary_table
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Thresholds
from deepssim.images.packs import ImagePack
from deepssim.images.sheets import save_pairs, save_sheet
from deepssim.metrics import METRICS
from deepssim.reporting.benchmark import MetricScores, plot_benchmark
from deepssim.reporting.page import write_report
from deepssim.reporting.pictures import save_nearest
from deepssim.reporting.plots import plot_f1, plot_histograms
from deepssim.similarity.scores import ScoreMatrix
from tests.evaluation.test_summary import figures, planted, registered, undefined
from tests.html_rules import faults

METRIC = METRICS[MetricName.DEEPSSIM]
USED = SourcedThresholds(SSIM_THRESHOLDS, "fitted on 3 pairs")


@pytest.fixture
def scores(random):
    labels = np.repeat([0, 2, 1], 20)
    return {"aligned": random.normal([0.3, 0.7, 0.9], 0.05, (20, 3)).T.ravel()}, labels


def test_histograms_are_reproducible_and_show_classes_and_thresholds(tmp_path, scores):
    paths = [tmp_path / name for name in ("a.png", "a.svg", "b.svg")]
    plot_histograms(paths[:2], *scores, METRIC, USED)
    plot_histograms(paths[2:], *scores, METRIC, USED)
    assert paths[1].read_bytes() == paths[2].read_bytes()
    text = paths[1].read_text()
    for part in (
        "duplicate (20 pairs)",
        "different (20 pairs)",
        "0.85",
        "0.6",
        "test pairs",
        "fitted on 3 pairs",
        "-1 to 1, higher",
    ):
        assert part in text
    assert Image.open(paths[0]).size[0] > 400


def test_histograms_of_equal_scores_do_not_fail(tmp_path):
    plot_histograms([tmp_path / "a.svg"], {"aligned": np.full(4, 0.5)}, np.zeros(4, int), METRIC, USED)
    assert (tmp_path / "a.svg").exists()


def test_the_benchmark_shows_every_metric_with_its_thresholds(tmp_path, scores):
    values, labels = scores
    both = {"aligned": values["aligned"], "misaligned": values["aligned"] / 2}
    columns = [
        MetricScores(METRIC, SourcedThresholds(SSIM_THRESHOLDS, PUBLISHED), both),
        MetricScores(METRICS[MetricName.FSIM], SourcedThresholds(Thresholds(0.5, 0.5), "fitted on 3 pairs"), both),
    ]
    plot_benchmark([tmp_path / "a.png", tmp_path / "a.svg"], columns, labels)
    text = (tmp_path / "a.svg").read_text()
    for part in (
        "DeepSSIM (cosine)",
        "FSIM",
        "published thresholds",
        "fitted thresholds",
        "score, 0 to 1",
        "misaligned",
    ):
        assert part in text
    assert text.count(">0.5<") >= 2  # one line where both thresholds are equal, in two panels


def test_f1_shows_every_value(tmp_path):
    table = summary_table([figures("ssim", False, 1.0), figures("ssim", True, 0.43)])
    plot_f1(tmp_path / "f1.svg", table)
    assert "0.43" in (tmp_path / "f1.svg").read_text()


def test_contact_sheets_show_the_images(tmp_path, packs):
    real, synthetic = packs
    save_sheet(tmp_path / "sheet.png", synthetic)
    save_pairs(tmp_path / "pairs.png", real, real, names=("image", "again"))
    for name in ("sheet.png", "pairs.png"):
        assert np.asarray(Image.open(tmp_path / name).convert("L")).std() > 20


def test_the_nearest_images_are_paired(tmp_path, monkeypatch, packs):
    real, synthetic = packs
    matrix = ScoreMatrix(real.keys, synthetic.keys, "ssim", np.zeros((6, 12), np.float32))
    matrix.scores[4, 7], matrix.scores[2, 1], matrix.scores[5, 3] = 0.9, 0.8, 0.99  # the last is a holdout image
    drawn = {}
    monkeypatch.setattr(
        "deepssim.reporting.pictures.save_grid",
        lambda path, grid, *rest, titles: drawn.update(grid=grid, titles=titles),
    )
    save_nearest(tmp_path / "x.png", matrix, real.keys[:5], real, synthetic, columns=2)
    assert drawn["titles"] == ["0.900", "0.800"]
    np.testing.assert_allclose(drawn["grid"][0] * 255, synthetic.images[[7, 1]])
    np.testing.assert_allclose(drawn["grid"][1] * 255, real.images[[4, 2]])


@pytest.fixture
def page_arguments(tmp_path, scores):
    save_sheet(tmp_path / "x.png", ImagePack(np.zeros((2, 8, 8), np.uint8), ["a", "b"]))
    plot_histograms([tmp_path / "x.svg"], *scores, METRIC, USED)
    versions = {"config_sha256": "c" * 64, "versions": {"torch": "2"}}
    truth = figures("ssim", False, 1.0) | {
        "thresholds": {"duplicate_above": 0.85, "source": "published"},
        "provenance": versions,
    }
    return {
        "images": pd.DataFrame({"key": list("abc"), "subject": list("xxy"), "split": ["train", "train", "holdout"]}),
        "evaluations": [truth, figures("deepssim", False, 0.9)],
        "histograms": [tmp_path / "x.svg"],
        "summary_plot": tmp_path / "x.svg",
        "curves": {"ROC": tmp_path / "x.svg"},
        "copies": tmp_path / "x.png",
        "pictures": {"A <title>": tmp_path / "x.png"},
    }


def test_the_report_needs_nothing_else(tmp_path, page_arguments):
    write_report(tmp_path / "index.html", **page_arguments)
    page = (tmp_path / "index.html").read_text()
    sources = re.findall(r'src="([^"]{5})', page)
    assert len(sources) == 5
    assert faults(page) == []
    assert set(sources) == {"data:"}
    assert not re.search(r"https?://", re.sub(r'src="[^"]*"', "", page))
    for part in ("25.0 %", "0.900", "A &lt;title&gt;", "c" * 64):
        assert part in page


def test_the_report_gives_both_rates_of_copies_with_intervals(tmp_path, page_arguments):
    pages = []
    for found in (None, registered(3, 0.125, 0.707)):
        write_report(tmp_path / "index.html", **page_arguments, registered=found)
        pages.append(" ".join((tmp_path / "index.html").read_text().split()))
    for page in pages:
        assert "(2 of 8; 95 % interval 8.1 to 55.5 %)" in page
        assert "were copied (1 of 4)" in page  # one subject allows no interval
    assert "are not counted here" in pages[0]
    assert "37.5 %" not in pages[0]
    assert "are not counted here" not in pages[1]
    assert (
        "37.5 %</b> copy one as it is, or flipped, rotated or shifted (3 of 8; 95 % interval 12.5 to 70.7 %)"
        in pages[1]
    )


def text_of(page):
    """Return the words of a page."""
    page = re.sub(r"<style>.*?</style>|</?b>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_the_report_begins_with_the_verdict_and_names_its_reservations(tmp_path, page_arguments):
    write_report(tmp_path / "index.html", **page_arguments, registered=registered(3, 0.125, 0.707))
    text = text_of((tmp_path / "index.html").read_text())
    assert text.startswith(
        "deepssim report Skip to the result Does the model copy its training images? Copies found: some."
    )
    for part in (
        "A reservation.", "0.0 % of held-out images, which cannot be copies, do so by chance (0 of 30, 28 subjects; 95 %",
        "planted copies, found again (soft) 30", "The highest SSIM that held-out images reach is 0.712; synthetic images reach 0.970.",
    ):  # fmt: skip
        assert part in text
    write_report(tmp_path / "index.html", **page_arguments)
    assert "training images? Cannot tell: 2 of 8 synthetic images" in text_of((tmp_path / "index.html").read_text())


def test_the_report_says_what_is_undefined_and_marks_planted_copies(tmp_path, page_arguments):
    truth = page_arguments["evaluations"][0]
    items = [undefined("deepssim", misaligned) | {"planted": planted(0.75)} for misaligned in (False, True)]
    page_arguments["evaluations"] = [truth | undefined("ssim", False) | {"provenance": truth["provenance"]}, *items]
    write_report(tmp_path / "index.html", **page_arguments, registered=registered(0, 0, 0.527))
    text = text_of((tmp_path / "index.html").read_text())
    start = text.index("Not evaluated:")
    assert start < text.index("of synthetic images copy")
    assert text[start:].startswith(
        "Not evaluated: macro-F1, AUROC, AUPRC of ssim, deepssim: no test pair is of class duplicate."
    )
    assert "undefined macro-F1 of DeepSSIM on 90 test pairs, images misaligned" in text
    assert "0.750 macro-F1 of DeepSSIM on planted copies in place of duplicates, images misaligned" in text
    assert "deepssim, planted misaligned 0.750" in text


def test_f1_that_is_undefined_is_said_and_not_drawn_as_zero(tmp_path):
    plot_f1(tmp_path / "f1.svg", summary_table([figures("ssim", False, 1.0), undefined("ssim", True)]))
    assert "undefined" in (tmp_path / "f1.svg").read_text()


def test_the_report_needs_the_truth(tmp_path, page_arguments):
    page_arguments["evaluations"] = page_arguments["evaluations"][1:]
    with pytest.raises(DataError, match="add 'ssim' to evaluation.metrics"):
        write_report(tmp_path / "index.html", **page_arguments)
