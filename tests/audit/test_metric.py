"""Watching a generator while it trains: the metric audits what it is given, and trainers log it and can be stopped."""

import logging

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from scipy.ndimage import rotate
from torch import nn

import deepssim
from deepssim.audit.result import AuditResult
from deepssim.errors import ConfigError, DataError
from deepssim.evaluation.verdict import Verdict
from tests.audit.folders import DRAWN, drawing

QUICK = {
    "compared_at": DRAWN,
    "controls": 1,
    "gallery": 1,
    "borderline": 2,
    "bootstrap": 20,
    "false_positive_rate": 0.02,
}
PATIENTS, COPIES = 40, 6


def drawings(seed, count):
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([drawing(random) for _ in range(count)]))[:, None]


@pytest.fixture(scope="module")
def metric():
    made = deepssim.MemorizationMetric(settings=QUICK)
    made.update(real=drawings(0, PATIENTS), subjects=range(PATIENTS))
    return made


@pytest.fixture(scope="module")
def copies():
    """Rotated training images among drawings of others."""
    turned = [rotate(image[0].numpy(), 8, reshape=False, order=1) for image in drawings(0, COPIES)]
    return torch.cat([torch.from_numpy(np.stack(turned))[:, None], drawings(1, 12)])


def test_copies_are_counted(metric, copies):
    metric.reset()
    metric.update(synthetic=copies[:2])
    metric.update(synthetic=copies[2:])
    found = metric.compute()
    assert COPIES - 1 <= found["copies"] <= COPIES + 1
    assert found["copy_rate"] == pytest.approx(float(found["copies"]) / len(copies), abs=0.06)
    assert found["subjects_copied"] >= COPIES - 1
    assert found["sensitivity"] > 0.5
    assert metric.result.verdict == Verdict.COPIES


def test_the_synthetic_images_are_forgotten_and_the_real_ones_kept(metric):
    metric.reset()
    metric.update(synthetic=drawings(3, 20))
    found = metric.compute()
    assert found["copies"] <= 1
    assert metric.result["data"]["real"]["images"] == PATIENTS
    assert metric.result["data"]["synthetic"]["images"] == 20


def test_what_is_not_known_is_no_zero(copies, caplog):
    """Five patients set no limit, so that nothing can be said: neither 0 nor any other rate."""
    few = deepssim.MemorizationMetric(settings=QUICK)
    few.update(real=drawings(0, 5), synthetic=copies[COPIES:])
    with caplog.at_level(logging.WARNING):
        found = few.compute()
    assert few.result.verdict == Verdict.CANNOT_TELL
    assert torch.isnan(found["copies"])
    assert torch.isnan(found["copy_rate"])
    assert "memorization is not known" in caplog.text


def test_floating_point_images_of_one_patient_count_together(tmp_path, copies):
    metric = deepssim.MemorizationMetric(folder=tmp_path, settings=QUICK)
    metric.update(real=drawings(0, PATIENTS) / 255.0, subjects=[f"p{place // 2}" for place in range(PATIENTS)])
    metric.update(synthetic=copies / 255.0)
    metric.compute()
    assert metric.result["data"]["real"]["subjects"] == PATIENTS // 2
    assert (tmp_path / "0" / "index.html").is_file()


def test_patients_that_are_not_named_are_a_reservation(copies):
    metric = deepssim.MemorizationMetric(settings=QUICK)
    metric.update(real=drawings(0, PATIENTS), synthetic=copies)
    metric.compute()
    assert metric.result["verdict"]["reservations"]
    assert any("patient" in text for text in metric.result.reservations)


def test_misuse_is_refused(copies):
    metric = deepssim.MemorizationMetric(settings=QUICK)
    with pytest.raises(ValueError, match="shape .18, 3, 8, 8."):
        metric.update(synthetic=torch.zeros(18, 3, 8, 8))
    with pytest.raises(DataError, match=r"no real images; call update\(real=\.\.\.\) before"):
        metric.compute()
    with pytest.raises(ValueError, match="2 subjects for 18 real images"):
        metric.update(real=copies, subjects=["a", "b"])
    metric.update(real=copies)
    with pytest.raises(ValueError, match="images are torch.float32 and those before torch.uint8"):
        metric.update(synthetic=copies / 255)
    with pytest.raises(ConfigError, match="1 settings of the metric are given by its images, first 'unit'"):
        deepssim.MemorizationMetric(settings={"unit": "volume"})


class Generator(lightning.LightningModule):
    """Stands for a generator that has learned its training images by heart."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, _):
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def test_lightning_logs_copies_and_stops(metric, copies, tmp_path):
    states = []

    def sample(module):
        states.append(module.training)
        return copies

    callback = deepssim.MemorizationCallback(metric, sample, every_n_epochs=2, stop_above=0.1)
    trainer = lightning.Trainer(
        max_epochs=10, callbacks=[callback], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    module = Generator()
    trainer.fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1))))
    assert trainer.current_epoch == 2
    assert states == [False]
    assert module.training
    assert trainer.callback_metrics["memorization/copy_rate"] > 0.1


@pytest.mark.parametrize(("limit", "epochs"), [(0.1, 1), (None, 2)])
def test_engines_of_ignite_log_copies_and_stop(metric, copies, limit, epochs):
    engine = Engine(lambda engine, batch: None)
    deepssim.MemorizationHandler(metric, lambda engine: copies, stop_above=limit).attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert engine.state.epoch == epochs
    assert engine.state.metrics["memorization/copies"] >= COPIES - 1


def test_a_result_shows_verdict_and_pairs_in_a_notebook(metric, copies):
    metric.reset()
    metric.update(synthetic=copies)
    metric.compute()
    result = metric.result
    assert isinstance(result, AuditResult)
    assert result["verdict"]["result"] == result.verdict
    assert list(result.pairs.columns[:4]) == ["synthetic", "real", "subject", "kind"]
    assert result.pairs["kind"].str.contains("copy").sum() >= COPIES - 1
    assert result.page.is_file()
    shown = result._repr_html_()
    assert "<b>Copies found.</b>" in shown
    assert "synthetic images above the limit" in shown
    assert result["verdict"]["sentence"] in repr(result)
    result["verdict"]["sentence"] = "<script>"
    assert "<script>" not in result._repr_html_()
