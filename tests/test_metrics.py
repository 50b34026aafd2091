"""The table of metrics: thresholds at their edges, weights, and which metrics a run computes."""

import numpy as np
import pytest

from deepssim.config.choices import Device, FsimVariant, MetricName
from deepssim.config.encoders import PublishedConfig
from deepssim.config.evaluation import EvaluationConfig, SimilarityConfig
from deepssim.config.settings import Config
from deepssim.errors import ConfigError
from deepssim.ground_truth.labels import Label
from deepssim.metrics import METRICS, InputKind, chosen_metrics, needs_fit, require_usable_metrics, require_weights
from deepssim.runtime.hub import on_hub
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.fsim import FsimComparison
from deepssim.similarity.tiles import all_scores

D, U, S = Label.DIFFERENT, Label.DUPLICATE, Label.SIMILAR


def test_every_metric_is_in_the_table_and_says_how_it_scores():
    assert list(METRICS) == list(MetricName)
    for metric in METRICS.values():
        assert "higher is more similar" in metric.axis
        assert (metric.embed is not None) is (metric.input_kind is InputKind.EMBEDDINGS)


@pytest.mark.parametrize(
    ("name", "scores", "labels"),
    [
        ("deepssim", [0.60, 0.61, 0.85, 0.86], [D, S, S, U]),
        ("chen", [0.40, 0.41, 0.60, 0.61], [D, S, S, U]),
        ("dar", [0.8030425, 0.8030426], [D, U]),
        ("semdedup", [0.96999, 0.97, 0.99904, 0.99905], [D, S, S, U]),
        ("ssim", [0.60, 0.61, 0.85, 0.86], [D, S, S, U]),
    ],
)
def test_published_thresholds_at_their_edges(name, scores, labels):
    assert METRICS[MetricName(name)].thresholds.classify(np.array(scores)).tolist() == labels


def test_thresholds_are_fitted_where_none_are_published_for_the_scores_of_the_workflow():
    """That of Dar was set on scores that depend on the batch, as of the reference code."""
    assert [name for name in METRICS if needs_fit(name)] == [MetricName.DAR, MetricName.FSIM]


def test_metrics_join_when_their_weights_are_named():
    published = PublishedConfig(chen="sscd.pt", semdedup="openai/clip-vit-base-patch32")
    assert chosen_metrics(["ssim", "deepssim"], vars(published)) == ["deepssim", "chen", "semdedup", "ssim"]
    assert chosen_metrics(["fsim"], vars(PublishedConfig())) == ["fsim"]


@pytest.mark.parametrize(("name", "source"), [("chen", "sscd"), ("semdedup", "BiomedCLIP")])
def test_a_metric_that_nobody_trains_here_needs_its_weights(tmp_path, name, source):
    """Listed without weights, or with weights that are not there; the message says where to get them."""
    metric = MetricName(name)
    listed = Config(evaluation=EvaluationConfig(metrics=(metric, MetricName.SSIM)))
    with pytest.raises(ConfigError, match=rf"'{name}'.*{source}.*published\.{name}"):
        require_usable_metrics(listed)
    absent = str(tmp_path / "none.pt")
    named = listed.with_changes(published=PublishedConfig(**{name: absent}))
    for check in (lambda: require_usable_metrics(named), lambda: require_weights(metric, absent)):
        with pytest.raises(ConfigError, match=rf"none\.pt.*'{name}'.*{source}"):
            check()
    (tmp_path / "none.pt").touch()
    require_usable_metrics(named)
    require_usable_metrics(Config())  # what is trained here needs none


def test_names_on_the_hub_are_not_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert on_hub("openai/clip-vit-base-patch32")
    (tmp_path / "models").mkdir()
    for path in ("models/clip", "clip", "weights/clip.bin", "/models/clip", "../clip/x"):
        assert not on_hub(path)
    assert on_hub("hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224")
    assert not on_hub("hf-hub:BiomedCLIP")


def test_the_variant_of_fsim_is_a_setting(packs):
    scores = [
        all_scores(METRICS[MetricName.FSIM].compare(*packs, 1, Device.CPU, SimilarityConfig(fsim_variant=variant)))
        for variant in FsimVariant
    ]
    for variant, found in zip(FsimVariant, scores, strict=True):
        np.testing.assert_array_equal(found, all_scores(FsimComparison(*packs, variant=variant)))
    assert np.abs(scores[0] - scores[1]).max() > 0.01


def test_dar_is_compared_by_correlation(random):
    values = random.normal(size=(5, 7)).astype(np.float32) + 3
    sides = Embeddings(values[:2], ["a", "b"], "dar", "c"), Embeddings(values[2:], ["x", "y", "z"], "dar", "c")
    scores = all_scores(METRICS[MetricName.DAR].compare(*sides, 1, Device.CPU))
    np.testing.assert_allclose(scores, np.corrcoef(values)[:2, 2:], atol=1e-6)
