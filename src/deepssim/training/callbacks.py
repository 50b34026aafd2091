"""What happens around the steps of a training run: seeds, history, averages, inspections, messages.

Not here: the run itself (training.py).
"""

import csv
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, TQDMProgressBar
from torch import nn

from deepssim.errors import DataError
from deepssim.runtime.devices import peak_memory_gb, weights_of
from deepssim.seeds import derive_seed
from deepssim.training.tracking import show_picture

logger = logging.getLogger(__name__)

TRAIN_LOSS = "train_loss"
VALID_LOSS = "valid_loss"

_MEASURED_STEPS = (2, 12)  # first and last step by which the time of an epoch is estimated; the first one prepares much


def opening(seed: int) -> list[Callback]:
    """Return what comes before the figures of an epoch are collected."""
    return [_SeedEachStep(seed), _Finite()]


def closing(state: Path, data_bytes: int) -> list[Callback]:
    """Return what tells a person about the run."""
    return [_Cost(state, data_bytes), *([TQDMProgressBar(refresh_rate=10)] if sys.stderr.isatty() else [])]


class Average(EMAWeightAveraging):
    """Lightning's exponential average of the weights, which can also be looked at between epochs."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    @contextmanager
    def shown(self, module: lightning.LightningModule) -> Iterator[None]:
        """Let the module have the average while the block runs."""
        self._swap_models(module)
        try:
            yield
        finally:
            self._swap_models(module)


class Inspection(Callback):
    """Look at the network every so many epochs: log figures, keep a picture, end the training if they say so.

    Args:
        every: epochs between two inspections.
        look: takes the network, in evaluation mode, and where to save a picture or None, and returns figures to log.
        picture_every: epochs between two pictures; the same as `every` unless given.
        stop: takes the figures and returns why the training should end, or None.
    """

    def __init__(
        self,
        every: int,
        look: Callable[[nn.Module, Path | None], dict[str, float]],
        *,
        picture_every: int | None = None,
        stop: Callable[[dict[str, float]], str | None] = lambda figures: None,
    ) -> None:
        self.every, self.picture_every = every, picture_every or every
        self.look, self.stop = look, stop
        self.stopped = False
        self.names: list[str] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        trainer.should_stop = self.stopped  # a run that was killed after it had ended must not go on

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch + 1
        for name in self.names:  # Lightning keeps figures of earlier epochs, which would look like new ones
            trainer.callback_metrics.pop(name, None)
        if epoch % self.every and epoch != trainer.max_epochs:
            return
        picture = None
        # Processes that train together all look, and so agree on whether to go on; one shows what it sees.
        if trainer.is_global_zero and (epoch % self.picture_every == 0 or epoch == trainer.max_epochs):
            picture = Path(trainer.default_root_dir, "pictures", f"epoch-{epoch:05d}.png")
            picture.parent.mkdir(exist_ok=True)
        averages = [callback for callback in trainer.callbacks if isinstance(callback, Average)]
        if averages:
            with averages[0].shown(module):
                figures = self._figures(module, picture)
        else:
            figures = self._figures(module, picture)
        self.names = list(figures)
        module.log_dict(figures, sync_dist=True)
        if picture:
            show_picture(trainer.loggers, picture, epoch)
        reason = self.stop(figures)
        if reason:
            logger.warning("training ends after epoch %d: %s", epoch, reason)
            self.stopped = trainer.should_stop = True

    def _figures(self, module: Any, picture: Path | None) -> dict[str, float]:
        module.network.eval()
        try:
            return self.look(module.network, picture)
        finally:
            module.network.train()

    def state_dict(self) -> dict[str, Any]:
        return {"stopped": self.stopped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stopped = state["stopped"]


class History(Callback):
    """Collect the logged figures; kept inside the checkpoint, so that a resumed run has the rows of its first part.

    Args:
        every: epochs between two rows.
        path: CSV file that can be followed while the training runs.
    """

    def __init__(self, every: int, path: Path) -> None:
        self.every, self.path = every, path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0:
            figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
            self.rows.append({"epoch": epoch, "step": steps_of(trainer), **figures})
            if trainer.is_global_zero:
                write_rows(self.path, self.rows)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": list(self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])


def write_rows(path: str | Path, rows: list[dict[str, float]]) -> None:
    """Write rows as CSV; figures missing in a row stay empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def steps_of(trainer: Any) -> int:
    """Return how many steps the first optimiser has made; `global_step` adds up those of all."""
    return trainer.global_step // max(1, len(trainer.optimizers))


class _SeedEachStep(Callback):
    """Make noise, dropout and augmentation of a batch depend on seed and batch number only."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        number = trainer.current_epoch * trainer.num_training_batches + batch_idx
        # Processes that train together need noise of their own for their parts of the batch.
        part = [trainer.global_rank] if trainer.global_rank else []
        torch.manual_seed(derive_seed(self.seed, "step", number, *part))

    def on_validation_batch_start(
        self, trainer: Any, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # The same noise at every validation, so that epochs compare.
        torch.manual_seed(derive_seed(self.seed, "validation", batch_idx))


class _Finite(Callback):
    """End a training whose loss is not a number before such weights are saved."""

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        for name, value in trainer.callback_metrics.items():
            if not torch.isfinite(torch.as_tensor(value)):
                rate = trainer.optimizers[0].param_groups[0]["lr"]
                raise DataError(
                    f"{name} is {float(value)} in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}; lower the "
                    f"learning rate (now {rate:.2g}) or use precision float32; the epochs before are kept"
                )


class _Cost(Callback):
    """Say what a run will take before it starts, after its first steps and ten times on its way.

    Args:
        state: where the run keeps its files.
        data_bytes: memory of the training data.
    """

    def __init__(self, state: Path, data_bytes: int) -> None:
        self.state, self.data_bytes = state, data_bytes
        self.first_epoch = -1
        self.started = self.epoch_started = 0.0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.first_epoch = trainer.current_epoch
        weights = weights_of(module)
        # float32 weights, their gradients and two moments of Adam; activations come on top
        logger.info(
            "%.3g million weights take %.3g GB with gradients and optimiser, the data %.3g GB; %d batches an epoch, "
            "%d epochs; state in %s",
            weights / 1e6, weights * 16 / 1e9, self.data_bytes / 1e9, trainer.num_training_batches, trainer.max_epochs,
            self.state,
        )  # fmt: skip

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.epoch_started = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        first, last = _MEASURED_STEPS
        if trainer.current_epoch != self.first_epoch or batch_idx not in (first - 1, last - 1):
            return
        now = time.perf_counter()
        if batch_idx == first - 1:
            self.started = now
            return
        step = (now - self.started) / (last - first)
        epoch = step * trainer.num_training_batches
        logger.info(
            "%.3g s a batch, so about %s an epoch and %s in all; peak memory %.2f GB", step, _duration(epoch),
            _duration(epoch * (trainer.max_epochs - trainer.current_epoch)), peak_memory_gb(module.device),
        )  # fmt: skip

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Write ten lines per run, where a progress bar would fill a log file."""
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs
        if epoch * 10 // total > (epoch - 1) * 10 // total:
            figures = ", ".join(
                f"{name} {float(value):.4g}" for name, value in sorted(trainer.callback_metrics.items())
            )
            logger.info(
                "epoch %d of %d (%s, peak memory %.2f GB): %s", epoch, total,
                _duration(time.perf_counter() - self.epoch_started), peak_memory_gb(module.device), figures,
            )  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"
