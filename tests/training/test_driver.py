"""The driver resumes to the same weights, keeps the asked checkpoint and writes a whole history."""

import csv
import errno
import logging
import re
import shutil
from typing import ClassVar

import lightning.pytorch as lightning
import pytest
import torch
from PIL import Image
from torch import nn

from deepssim.config.choices import Decay, Device, Keep
from deepssim.config.training import TrainingConfig
from deepssim.errors import ConfigError, DataError
from deepssim.runtime.messages import DETAILS, log_to, short_errors
from deepssim.training.callbacks import Inspection
from deepssim.training.driver import Batched, read_checkpoint, train, with_decay


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
        return with_decay(self, torch.optim.Adam(self.parameters(), 0.01), self.options)


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
    assert min(resumed.epochs_run) == 5  # no finished epoch is repeated, validated or not
    done, _ = run(tmp_path, "cut")
    assert done.epochs_run == []
    assert torch.equal(weights(done), weights(whole))


def test_best_and_last_are_different_checkpoints(tmp_path):
    last, _ = run(tmp_path, "last")
    best, _ = run(tmp_path, "best", TrainingConfig(epochs=6, batch_size=5, validate_every=2, keep=Keep.BEST))
    assert not torch.equal(weights(last), weights(best))
    early, _ = run(tmp_path, "early", TrainingConfig(epochs=2, batch_size=5, validate_every=2, decay=Decay.CONSTANT))
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


def test_accumulated_batches_make_one_step(tmp_path):
    options = TrainingConfig(epochs=1, batch_size=3, accumulate=2)
    module, trained = run(tmp_path, "x", options)
    assert len(module.epochs_run) == 4
    assert trained.history[-1]["step"] == 2


def test_copies_are_seen_as_often_as_they_are(tmp_path):
    data = Batched(torch.arange(3.0)[:, None], copies=[1, 4, 2])
    assert len(data) == 7
    (rows,) = data[list(range(7))]
    assert rows.flatten().tolist() == [0, 1, 1, 1, 1, 2, 2]


def test_the_average_of_weights_is_kept_and_resumed(tmp_path):
    """The average after every step, by hand, is what a run keeps, also when it was interrupted."""
    options = TrainingConfig(epochs=6, batch_size=6, validate_every=2, keep=Keep.LAST, decay=Decay.CONSTANT)

    class Watched(Noisy):
        seen: ClassVar[list] = []

        def on_train_batch_end(self, *arguments):
            self.seen.append(weights(self).clone())

    def train_average(name, stop_at=None):
        module = Watched(options, stop_at)
        train(module, DATA, DATA, options=options, seed=3, device=Device.CPU, state=tmp_path / name, ema_decay=0.8)
        return weights(module)

    whole = train_average("whole")
    expected = Watched.seen[0]
    for value in Watched.seen[1:]:
        expected = 0.8 * expected + 0.2 * value
    torch.testing.assert_close(whole, expected)
    assert not torch.allclose(whole, Watched.seen[-1])
    with pytest.raises(RuntimeError, match="killed"):
        train_average("cut", stop_at=5)
    assert torch.equal(train_average("cut"), whole)


def test_a_loss_that_is_not_a_number_ends_the_run_and_keeps_what_was_good(tmp_path):
    class Exploding(Noisy):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if self.trainer.current_epoch == 3:
                self.log("train_loss", float("nan"), on_step=False, on_epoch=True)
            return loss

    with pytest.raises(DataError, match="train_loss is nan in epoch 4 of 6; lower the learning rate"):
        train(Exploding(OPTIONS), DATA, None, options=OPTIONS, seed=3, device=Device.CPU, state=tmp_path / "x")
    assert read_checkpoint(tmp_path / "x" / "last.ckpt")["epoch"] == 2  # the third epoch


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    run(tmp_path, "x", TrainingConfig(epochs=2, batch_size=6))
    saved = tmp_path / "x" / "last.ckpt"
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"last\.ckpt: is damaged .*; remove "):
        run(tmp_path, "x", TrainingConfig(epochs=4, batch_size=6))


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    run(tmp_path, "x", TrainingConfig(epochs=2, batch_size=6))
    saved = (tmp_path / "x" / "last.ckpt").read_bytes()

    def no_space(checkpoint, file):
        file.write(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", no_space)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, "x", TrainingConfig(epochs=4, batch_size=6))
    assert (tmp_path / "x" / "last.ckpt").read_bytes() == saved
    assert not list((tmp_path / "x").glob(".part-*"))


class Figures:
    """An inspection that gives one figure per call and remembers how it was called."""

    def __init__(self, *values):
        self.values, self.calls = list(values), []

    def __call__(self, network, picture):
        assert not network.training
        self.calls.append(picture)
        if picture:
            Image.new("L", (4, 4)).save(picture)
        return {"figure": self.values[len(self.calls) - 1]}


def test_an_inspection_is_in_the_history_and_draws_pictures(tmp_path):
    look = Figures(0.25, 0.5, 0.75)
    inspection = Inspection(2, look, picture_every=4)
    trained = train(Noisy(OPTIONS), DATA, DATA, options=OPTIONS, seed=3, device=Device.CPU, state=tmp_path / "x",
                    inspection=inspection)  # fmt: skip
    assert [row["figure"] for row in trained.history] == [0.25, 0.5, 0.75]
    assert [path.name if path else None for path in look.calls] == [None, "epoch-00004.png", "epoch-00006.png"]
    assert (tmp_path / "x" / "history.csv").read_text().splitlines()[0].startswith("epoch,step,figure,train_loss")


def test_an_inspection_changes_no_weights(tmp_path):
    plain, _ = run(tmp_path, "plain")
    module = Noisy(OPTIONS)
    train(module, DATA, DATA, options=OPTIONS, seed=3, device=Device.CPU, state=tmp_path / "x",
          inspection=Inspection(2, Figures(1, 2, 3)))  # fmt: skip
    assert torch.equal(weights(module), weights(plain))


def test_an_inspection_can_end_the_training_for_good(tmp_path, caplog):
    def train_until(name):
        module = Noisy(OPTIONS)
        inspection = Inspection(
            2, Figures(0.1, 0.9, 0.9), stop=lambda figures: "enough" if figures["figure"] > 0.5 else None
        )
        return module, train(module, DATA, DATA, options=OPTIONS, seed=3, device=Device.CPU, state=tmp_path / name,
                             inspection=inspection)  # fmt: skip

    first, trained = train_until("x")
    assert [row["epoch"] for row in trained.history] == [2, 4]
    assert re.search("epoch 4: enough", caplog.text)
    again, repeated = train_until("x")  # killed after its end and started again: it must not go on
    assert again.epochs_run == []
    assert repeated.history == trained.history
    assert torch.equal(weights(again), weights(first))


def test_the_cost_is_told_before_and_during_training(tmp_path, caplog):
    options = TrainingConfig(epochs=2, passes=10, batch_size=6)
    with caplog.at_level(logging.INFO, logger="deepssim"):
        run(tmp_path, "x", options)
    first = caplog.records[0]
    assert re.match(r"4\.1e-05 million weights, \d+ batches per epoch, epochs 1 to 2$", first.getMessage())
    assert re.search(r"\b6\.56e-07 GB.*state in ", getattr(first, DETAILS))  # 41 weights of 16 bytes
    assert re.search(r"\S+ s per batch, .*\S+ s per epoch .*\S+ s .*\d+\.\d\d GB", caplog.text)
    assert re.search(r"epoch 1 of 2 \(\S+ s, about \S+ s left\): train_loss \S+, valid_loss", caplog.text)
    assert re.search(r"epoch 2 of 2 \(\S+ s\): train_loss", caplog.text)
    assert re.match(r"peak memory \d+\.\d\d GB", getattr(caplog.records[-1], DETAILS))


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_learns_the_same(tmp_path):
    """The compiler may round otherwise, no more."""
    plain, _ = run(tmp_path, "plain", TrainingConfig(epochs=2, batch_size=6))
    fast, _ = run(tmp_path, "fast", TrainingConfig(epochs=2, batch_size=6, compile=True))
    torch.testing.assert_close(weights(fast), weights(plain), rtol=1e-3, atol=1e-4)


def test_short_memory_in_a_step_is_one_sentence_that_names_the_way_out(tmp_path, monkeypatch, capsys):
    """A smaller batch would train another model, so the user decides."""

    def step(self, batch, batch_idx):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Noisy, "training_step", step)
    with pytest.raises(SystemExit), log_to(None), short_errors():
        run(tmp_path, "x")
    error = capsys.readouterr().err
    assert "out of GPU memory" in error
    assert "lower batch_size, and for training raise accumulate by the same factor" in error
    assert "Traceback" not in error


class Convolving(Noisy):
    """With weights of two layouts: `layout` is that of a GPU or of a processor."""

    def __init__(self, layout, stop_at=None):
        super().__init__(OPTIONS, stop_at)
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8, 1)
        ).to(memory_format=layout)

    def configure_optimizers(self):
        return with_decay(self, torch.optim.Adam(self.parameters(), 0.01, fused=True), self.options)


@pytest.mark.parametrize(
    "layouts", [(torch.channels_last, torch.contiguous_format), (torch.contiguous_format, torch.channels_last)]
)
def test_a_run_goes_on_where_weights_have_another_layout(tmp_path, layouts):
    """As from a GPU to a processor: moments of the optimiser must stay with their weights."""
    arguments = {"options": OPTIONS, "seed": 3, "device": Device.CPU}
    expected = train(Convolving(layouts[1]), DATA, DATA, state=tmp_path / "whole", **arguments).module
    with pytest.raises(RuntimeError, match="killed"):
        train(Convolving(layouts[0], stop_at=3), DATA, DATA, state=tmp_path / "parts", **arguments)
    found = train(Convolving(layouts[1]), DATA, DATA, state=tmp_path / "parts", **arguments).module
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
