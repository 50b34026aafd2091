import re

import numpy as np
import pytest
from PIL import Image

from deepssim.reporting.evaluation_plots import plot_calibration, plot_confusion, plot_copy_rate, plot_ranking


@pytest.fixture
def scores(random):
    labels = np.repeat([0, 2, 1], 30)
    ssim = np.repeat([0.3, 0.7, 0.95], 30) + random.normal(0, 0.02, 90)
    one = {"deepssim": ssim + random.normal(0, 0.05, 90), "ssim": ssim}
    return {"aligned": one, "misaligned": {"deepssim": one["deepssim"], "ssim": random.random(90)}}, labels, ssim


@pytest.fixture
def figures():
    copies = {"synthetic_copies": 3, "synthetic_images": 40, "training_copied": 0, "training_images": 20,
              "synthetic_interval": {"value": 0.075, "low": 0.016, "high": 0.204},
              "training_interval": {"value": 0.0, "low": None, "high": None}}  # fmt: skip
    one = {"classes": ["different", "duplicate", "similar"], "confusion": [[30, 0, 0], [0, 27, 3], [2, 1, 27]]}
    return [one | {"metric": "deepssim", "misaligned": kind, "copies": copies} for kind in (False, True)]


def saved(tmp_path, name, plot, *arguments):
    paths = [tmp_path / f"{name}.png", tmp_path / f"{name}.svg"]
    plot(paths, *arguments)
    again = [tmp_path / "again.png", tmp_path / "again.svg"]
    plot(again, *arguments)
    assert again[1].read_bytes() == paths[1].read_bytes()
    assert min(Image.open(paths[0]).size) > 200
    return paths[1].read_text()


def test_curves_have_their_areas(tmp_path, scores):
    text = saved(tmp_path, "ranking", plot_ranking, scores[0], scores[1])
    for part in ("ssim (area 1.000)", "ROC, misaligned images", "recall"):
        assert part in text


def test_calibration_has_a_panel_per_kind(tmp_path, scores):
    text = saved(tmp_path, "calibration", plot_calibration, scores[0], scores[2])
    assert "aligned images" in text
    assert "misaligned images" in text


def test_calibration_of_fewer_pairs_than_bins(tmp_path):
    few = {"aligned": {"ssim": np.array([0.1, 0.2])}}
    plot_calibration([tmp_path / "x.png"], few, np.array([0.1, 0.2]))
    plot_ranking([tmp_path / "y.png"], few, np.array([0, 1]))
    assert (tmp_path / "x.png").stat().st_size > 1000
    assert (tmp_path / "y.png").stat().st_size > 1000


def test_confusion_shows_counts(tmp_path, figures):
    text = saved(tmp_path, "confusion", plot_confusion, figures)
    for part in ("deepssim, aligned", "deepssim, misaligned", "duplicate"):
        assert part in text
    written = [text.count(f">{count}<") for count in (0, 1, 2, 3, 27, 30)]
    assert written == [2 * count for count in (3, 1, 1, 1, 2, 1)]  # each matrix has every number of its counts


def test_copy_rates_have_intervals(tmp_path, figures):
    text = saved(tmp_path, "copies", plot_copy_rate, figures)
    assert "training images copied" in text
    bars = re.findall(r'<g id="LineCollection_\d+">(.*?)</g>', text, re.DOTALL)
    assert [group.count("<path ") for group in bars] == [
        2,
        2,
        1,
        1,
    ]  # of each evaluation by either rate, and the legend
