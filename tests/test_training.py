"""The driver resumes to the same weights, keeps the asked checkpoint and writes a whole history."""

import csv

import lightning.pytorch as lightning
import pytest
import torch
from torch import nn

from deepssim.config import Device, Keep, TrainingConfig
from deepssim.errors import ConfigError
from deepssim.training import Batched, train, with_decay


class Noisy(lightning.LightningModule):
    """A regression with dropout and noise, so that only a run with the same random numbers ends the same."""

    def __init__(self, options, stop_at=None):
        super().__init__()
        self.options, self.stop_at = options, stop_at
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.epochs_run = []

    def training_step(self, batch, batch_idx):
        if self.trainer.current_epoch == self.stop_at:
            raise RuntimeError("killed")
        self.epochs_run.append(self.trainer.current_epoch)
        loss = ((self.network(batch[0] + 0.1 * torch.randn_like(batch[0])) - batch[1]) ** 2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        # grows with the epoch, so that the first checkpoint is the best
        self.log("valid_loss", float(self.trainer.current_epoch))

    def configure_optimizers(self):
        return with_decay(self, torch.optim.Adam(self.parameters(), 0.01), self.options.decay)


DATA = Batched(torch.linspace(-1, 1, 36).reshape(12, 3), torch.ones(12, 1))
OPTIONS = TrainingConfig(epochs=6, batch_size=5, validate_every=2, keep=Keep.LAST)


def run(tmp_path, name, options=OPTIONS, stop_at=None, valid=DATA):
    module = Noisy(options, stop_at)
    trained = train(module, DATA, valid, options=options, seed=3, device=Device.CPU, state=tmp_path / name)
    return module, trained


def weights(module):
    return torch.cat([value.flatten() for value in module.state_dict().values()])


def test_an_interrupted_run_ends_like_an_undisturbed_one(tmp_path):
    whole, history = run(tmp_path, "whole")
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, "cut", stop_at=5)
    resumed, again = run(tmp_path, "cut")
    assert torch.equal(weights(resumed), weights(whole))
    assert again.history == history.history
    assert min(resumed.epochs_run) == 4  # what was saved after epoch 4 is not repeated
    done, _ = run(tmp_path, "cut")
    assert done.epochs_run == []
    assert torch.equal(weights(done), weights(whole))


def test_best_and_last_are_different_checkpoints(tmp_path):
    last, _ = run(tmp_path, "last")
    best, _ = run(tmp_path, "best", TrainingConfig(epochs=6, batch_size=5, validate_every=2, keep=Keep.BEST))
    assert not torch.equal(weights(last), weights(best))
    early, _ = run(tmp_path, "early", TrainingConfig(epochs=2, batch_size=5, validate_every=2, decay="constant"))
    assert not torch.equal(weights(early), weights(last))


def test_history_is_written_whole(tmp_path):
    _, trained = run(tmp_path, "x")
    trained.write_history(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["2", "4", "6"]
    assert [row["step"] for row in rows] == ["6", "12", "18"]  # 12 images in batches of 5: 3 steps an epoch
    assert all(float(row["train_loss"]) > 0 for row in rows)
    assert list((tmp_path / "x").glob("tensorboard/events*"))


def test_an_epoch_can_be_several_passes(tmp_path):
    module, trained = run(tmp_path, "x", TrainingConfig(epochs=2, passes=3, batch_size=6))
    assert trained.history[-1]["step"] == 12  # 12 images in batches of 6: 2 steps a pass
    assert len(module.epochs_run) == 12


def test_without_validation_the_training_loss_decides(tmp_path):
    _, trained = run(tmp_path, "x", TrainingConfig(epochs=2, batch_size=6), valid=None)
    assert "valid_loss" not in trained.history[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="device is 'cuda' but this machine has no usable GPU"):
        train(Noisy(OPTIONS), DATA, None, options=OPTIONS, seed=0, device=Device.CUDA, state=tmp_path)
