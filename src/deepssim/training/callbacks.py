"""Callbacks of a training run: random seeds, history, averaged weights, inspections, progress messages.

Not here: the run itself (driver.py).
"""

import csv
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, TQDMProgressBar
from torch import nn

from deepssim.errors import DataError
from deepssim.runtime.devices import count_parameters, peak_memory_gb
from deepssim.seeds import derive_seed
from deepssim.training.tracking import show_picture

logger = logging.getLogger(__name__)

TRAIN_LOSS = "train_loss"
VALID_LOSS = "valid_loss"

_TIMED_STEPS = (2, 12)  # steps between which the time is taken; the first step includes initialisation


def step_callbacks(seed: int) -> list[Callback]:
    """Return the callbacks that seed every step with the config's seed and stop on a loss that is not finite."""
    return [_SeedEachStep(seed), _RequireFinite()]


def progress_callbacks(state: Path, data_bytes: int, *, every_epoch: bool = False) -> list[Callback]:
    """Return the callbacks that report time, memory and losses.

    Args:
        state: folder of the run.
        data_bytes: memory of the training data.
        every_epoch: log the losses of every epoch instead of those of ten epochs of the run.
    """
    return [
        _Progress(state, data_bytes, every_epoch),
        *([TQDMProgressBar(refresh_rate=10)] if sys.stderr.isatty() else []),
    ]


class Average(EMAWeightAveraging):
    """Lightning's exponential moving average of the weights, which can also be used between epochs.

    Args:
        decay: weight of the previous average, 0 to 1.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    @contextmanager
    def applied(self, module: lightning.LightningModule) -> Iterator[None]:
        """Give the module the averaged weights inside the block."""
        self._swap_models(module)
        try:
            yield
        finally:
            self._swap_models(module)


def kept_weights(trainer: Any, module: lightning.LightningModule) -> AbstractContextManager[None]:
    """Give the module, inside the block, the weights that a checkpoint would keep: averaged ones if there is an average.

    Args:
        trainer: trainer of the run.
        module: module that is being trained.
    """
    averages = [callback for callback in trainer.callbacks if isinstance(callback, Average)]
    return averages[0].applied(module) if averages else nullcontext()


def picture_path(trainer: Any) -> Path:
    """Return where the inspection of the current epoch saves its picture."""
    return Path(trainer.default_root_dir, "pictures", f"epoch-{trainer.current_epoch + 1:05d}.png")


class Inspection(Callback):
    """Evaluate the network at regular intervals: log metrics, save a picture, end the training on a condition.

    Args:
        every: epochs between inspections.
        inspect: function of the network, in evaluation mode, and the path of a picture to save, or None; returns metrics.
        picture_every: epochs between pictures; the same as `every` unless given.
        stop: function of the metrics that returns the reason to end the training, or None.
    """

    def __init__(
        self,
        every: int,
        inspect: Callable[[nn.Module, Path | None], dict[str, float]],
        *,
        picture_every: int | None = None,
        stop: Callable[[dict[str, float]], str | None] = lambda metrics: None,
    ) -> None:
        self.every, self.picture_every = every, picture_every or every
        self.inspect, self.stop = inspect, stop
        self.stopped = False
        self.names: list[str] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        trainer.should_stop = self.stopped  # a run resumed after it was stopped must not continue

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch + 1
        for name in self.names:  # Lightning keeps the metrics of earlier epochs, which would be recorded again
            trainer.callback_metrics.pop(name, None)
        if epoch % self.every and epoch != trainer.max_epochs:
            return
        picture = None
        # All processes inspect, so that they agree on whether to continue; one of them saves the picture.
        if trainer.is_global_zero and (epoch % self.picture_every == 0 or epoch == trainer.max_epochs):
            picture = picture_path(trainer)
            picture.parent.mkdir(exist_ok=True)
        with kept_weights(trainer, module):
            metrics = self._inspect(module, picture)
        self.names = list(metrics)
        module.log_dict(metrics, sync_dist=True)
        if picture:
            show_picture(trainer.loggers, picture, epoch)
        reason = self.stop(metrics)
        if reason:
            logger.warning("training ends after epoch %d: %s", epoch, reason)
            self.stopped = trainer.should_stop = True

    def _inspect(self, module: Any, picture: Path | None) -> dict[str, float]:
        module.network.eval()
        try:
            return self.inspect(module.network, picture)
        finally:
            module.network.train()

    def state_dict(self) -> dict[str, Any]:
        return {"stopped": self.stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stopped = state["stopped"]


class History(Callback):
    """Collect the logged metrics; checkpoints include them, so that a resumed run has the rows of its first part.

    Args:
        every: epochs between rows.
        path: CSV file, updated while the training runs.
    """

    def __init__(self, every: int, path: Path) -> None:
        self.every, self.path = every, path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0:
            metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
            self.rows.append({"epoch": epoch, "step": optimizer_steps(trainer), **metrics})
            if trainer.is_global_zero:
                write_rows(self.path, self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": list(self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])


def write_rows(path: str | Path, rows: list[dict[str, float]]) -> None:
    """Write a history as CSV; metrics missing in a row stay empty.

    Args:
        path: file to write.
        rows: metrics by name, one dict per epoch.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def optimizer_steps(trainer: Any) -> int:
    """Return the number of steps of the first optimiser; Lightning's `global_step` counts those of all optimisers."""
    return trainer.global_step // max(1, len(trainer.optimizers))


class _SeedEachStep(Callback):
    """Make noise, dropout and augmentation of a batch depend on the seed and the number of the batch only."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        number = trainer.current_epoch * trainer.num_training_batches + batch_idx
        # Each process needs its own noise for its part of the batch.
        part = [trainer.global_rank] if trainer.global_rank else []
        torch.manual_seed(derive_seed(self.seed, "step", number, *part))

    def on_validation_batch_start(
        self, trainer: Any, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # The same noise at every validation, so that epochs are comparable.
        torch.manual_seed(derive_seed(self.seed, "validation", batch_idx))


class _RequireFinite(Callback):
    """End a training run whose loss is not finite before its weights are saved."""

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        for name, value in trainer.callback_metrics.items():
            if not torch.isfinite(torch.as_tensor(value)):
                rate = trainer.optimizers[0].param_groups[0]["lr"]
                raise DataError(
                    f"{name} is {float(value)} in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}; lower the "
                    f"learning rate (now {rate:.2g}) or use precision float32; checkpoints of earlier epochs are kept"
                )


class _Progress(Callback):
    """Log memory and time of a run at its start, after its first steps and ten times, or every epoch, along the way."""

    def __init__(self, state: Path, data_bytes: int, every_epoch: bool) -> None:
        self.state, self.data_bytes, self.every_epoch = state, data_bytes, every_epoch
        self.first_epoch = -1
        self.started = self.epoch_started = 0.0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.first_epoch = trainer.current_epoch
        weights = count_parameters(module)
        # float32 weights, their gradients and two moments of Adam, without activations
        logger.info(
            "%.3g million weights take %.3g GB with gradients and optimiser, the data %.3g GB; %d batches per epoch, "
            "%d epochs; state in %s",
            weights / 1e6, weights * 16 / 1e9, self.data_bytes / 1e9, trainer.num_training_batches, trainer.max_epochs,
            self.state,
        )  # fmt: skip

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.epoch_started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        first, last = _TIMED_STEPS
        if trainer.current_epoch != self.first_epoch or batch_idx not in (first - 1, last - 1):
            return
        now = time.perf_counter()
        if batch_idx == first - 1:
            self.started = now
            return
        step = (now - self.started) / (last - first)
        epoch = step * trainer.num_training_batches
        logger.info(
            "%.3g s per batch, about %s per epoch and %s in total; peak memory %.2f GB", step, _duration(epoch),
            _duration(epoch * (trainer.max_epochs - trainer.current_epoch)), peak_memory_gb(module.device),
        )  # fmt: skip

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Log ten lines per run, or a line per epoch; a progress bar would fill a log file."""
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs
        if self.every_epoch or epoch * 10 // total > (epoch - 1) * 10 // total:
            metrics = ", ".join(
                f"{name} {float(value):.4g}" for name, value in sorted(trainer.callback_metrics.items())
            )
            logger.info(
                "epoch %d of %d (%s, peak memory %.2f GB): %s", epoch, total,
                _duration(time.perf_counter() - self.epoch_started), peak_memory_gb(module.device), metrics,
            )  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"
