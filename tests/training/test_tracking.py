"""Runs are recorded without a network and without a question on the terminal."""

import pytest

from deepssim.config.choices import Device, WandbMode
from deepssim.config.training import TrackingConfig
from deepssim.errors import ConfigError
from deepssim.training.driver import train
from deepssim.training.tracking import loggers
from tests.training.test_driver import DATA, OPTIONS, Noisy


def test_tensorboard_alone_unless_asked(tmp_path):
    assert [type(one).__name__ for one in loggers(tmp_path, TrackingConfig())] == ["TensorBoardLogger"]


def test_wandb_records_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    train(Noisy(OPTIONS), DATA, DATA, options=OPTIONS, seed=0, device=Device.CPU, state=tmp_path / "run",
          tracking=TrackingConfig(wandb_project="test"))  # fmt: skip
    (record,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"train_loss" in record.read_bytes()


def test_online_without_a_key_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="wandb_mode is 'online', but there is no API key; set WANDB_API_KEY"):
        loggers(tmp_path, TrackingConfig(wandb_project="test", wandb_mode=WandbMode.ONLINE))
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key")
    (tmp_path / ".netrc").chmod(0o600)
    assert len(loggers(tmp_path, TrackingConfig(wandb_project="test", wandb_mode=WandbMode.ONLINE))) == 2
