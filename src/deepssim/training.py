"""The one place that drives a training run: device, precision, loggers, checkpoints, resume.

A run keeps its checkpoints and logs in a state folder and continues from there after a kill. All randomness of a step
is a function of seed and step number, so a resumed run ends with the weights of an undisturbed one.

Not here: the models and their losses, which are LightningModules in generative/ and encoders/.
"""

import csv
import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

from deepssim.config import Decay, Device, Keep, TrainingConfig
from deepssim.devices import resolve_device, training_precision
from deepssim.seeds import derive_seed, torch_generator

logger = logging.getLogger(__name__)

TRAIN_LOSS = "train_loss"
VALID_LOSS = "valid_loss"

_WARM_UP_STEPS = 50  # the first steps of Adam are large, whatever the gradient; from 0.001 on that can spoil a run


@dataclass(frozen=True)
class Trained:
    """Outcome of a training run.

    Attributes:
        module: the module with the weights that the config asks to keep.
        history: one row per validated epoch: `epoch`, `step` and the logged figures.
    """

    module: lightning.LightningModule
    history: list[dict[str, float]]

    def write_history(self, path: str | Path) -> None:
        """Write the history as CSV; figures missing in a row stay empty."""
        names = list(dict.fromkeys(name for row in self.history for name in row))
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.history)


class Batched(Dataset):
    """Tensors in memory, indexed by a whole batch at once: no per-item Python work, no collation.

    Args:
        tensors: each with N rows.
    """

    def __init__(self, *tensors: torch.Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, rows: Sequence[int]) -> tuple[torch.Tensor, ...]:
        return tuple(tensor[rows] for tensor in self.tensors)


def train(
    module: lightning.LightningModule,
    train_data: Batched,
    valid_data: Batched | None,
    *,
    options: TrainingConfig,
    seed: int,
    device: Device,
    state: Path,
    gradient_norm: float | None = None,
) -> Trained:
    """Train a module, or continue its training, and return it with the weights to keep.

    Args:
        module: logs `train_loss` in every training step and `valid_loss` in every validation step.
        train_data: what the module's training step takes, batch by batch.
        valid_data: the same, or None to choose the best checkpoint by training loss.
        options: epochs, batch size and so on.
        seed: the config's seed.
        device: where to train.
        state: folder of this run's checkpoints and logs; an interrupted run found there is continued.
        gradient_norm: clip gradients to this norm.

    Raises:
        ConfigError: if the device is not there.
    """
    state.mkdir(parents=True, exist_ok=True)
    monitor = VALID_LOSS if valid_data is not None else TRAIN_LOSS
    history = _History(options.validate_every)
    callbacks = [history, *_checkpoints(state, monitor, options.validate_every), _SeedEachStep(seed), *_progress_bar()]
    saved = state / f"{Keep.LAST.value}.ckpt"
    resume = saved if saved.exists() else None
    if resume:
        logger.info("continuing the training found in %s", state)
    with warnings.catch_warnings():
        # Lightning's advice on workers and logging intervals does not fit data that lies in memory.
        warnings.filterwarnings(
            "ignore", module="lightning", message=".*(num_workers|log_every_n_steps|exists and is not).*"
        )
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        trainer = _trainer(resolve_device(device), options, state, callbacks, gradient_norm)
        # Only files that this program wrote lie in the state folder; optimiser states need more than tensors.
        trainer.fit(
            module,
            _loader(train_data, options.batch_size, _Shuffled(train_data, options.passes, seed, trainer)),
            None if valid_data is None else _loader(valid_data, options.batch_size, SequentialSampler(valid_data)),
            ckpt_path=resume,
            weights_only=False,
        )
    weights = torch.load(state / f"{options.keep.value}.ckpt", map_location="cpu", weights_only=False)["state_dict"]
    module.load_state_dict(weights)
    return Trained(module.eval().cpu(), history.rows)


def _checkpoints(state: Path, monitor: str, every: int) -> list[Callback]:
    """Keep the best and the last; two callbacks, since the `save_last` of one writes only when the best has improved."""
    return [
        ModelCheckpoint(
            dirpath=state,
            filename=keep.value,
            monitor=figure,
            every_n_epochs=every,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for keep, figure in ((Keep.BEST, monitor), (Keep.LAST, None))
    ]


def _trainer(
    target: torch.device, options: TrainingConfig, state: Path, callbacks: list[Callback], gradient_norm: float | None
) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="gpu" if target.type == "cuda" else "cpu",
        devices=1,
        precision=training_precision(target),
        max_epochs=_whole_intervals(options),
        check_val_every_n_epoch=options.validate_every,
        gradient_clip_val=gradient_norm,
        callbacks=callbacks,
        logger=TensorBoardLogger(state, name="", version="tensorboard"),
        log_every_n_steps=50,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=state,
    )


def with_decay(module: lightning.LightningModule, optimizer: torch.optim.Optimizer, decay: Decay) -> Any:
    """Return what `configure_optimizers` returns: the optimiser, and the schedule of its learning rate if it has one."""
    if decay is Decay.CONSTANT:
        return optimizer
    steps = int(module.trainer.estimated_stepping_batches)
    warm_up = min(_WARM_UP_STEPS, max(1, steps // 20))

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _loader(data: Dataset, batch_size: int, order: Sampler) -> DataLoader:
    return DataLoader(data, sampler=BatchSampler(order, batch_size, drop_last=False), batch_size=None)


def _whole_intervals(options: TrainingConfig) -> int:
    """Round the epochs up to whole validation intervals, so that the last epoch is validated and saved."""
    return -(-options.epochs // options.validate_every) * options.validate_every


def _progress_bar() -> list[Callback]:
    return [TQDMProgressBar(refresh_rate=10)] if sys.stderr.isatty() else [_PlainProgress()]


class _Shuffled(Sampler):
    """A new order in every pass over the data, the same again when an epoch is repeated after a resume."""

    def __init__(self, data: Batched, passes: int, seed: int, trainer: lightning.Trainer) -> None:
        self.count = len(data)
        self.passes = passes
        self.seed = seed
        self.trainer = trainer

    def __len__(self) -> int:
        return self.count * self.passes

    def __iter__(self) -> Iterator[int]:
        for number in range(self.passes):
            generator = torch_generator(self.seed, "shuffle", self.trainer.current_epoch, number)
            yield from torch.randperm(self.count, generator=generator).tolist()


class _SeedEachStep(Callback):
    """Make noise, dropout and augmentation of a step depend on seed and step only."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(derive_seed(self.seed, "step", trainer.global_step))

    def on_validation_batch_start(
        self, trainer: Any, module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        # The same noise at every validation, so that epochs compare.
        torch.manual_seed(derive_seed(self.seed, "validation", batch_idx))


class _History(Callback):
    """Collect the logged figures; kept inside the checkpoint, so that a resumed run has the rows of its first part."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0:
            figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
            self.rows.append({"epoch": epoch, "step": trainer.global_step, **figures})

    def state_dict(self) -> dict[str, Any]:
        return {"rows": list(self.rows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])


class _PlainProgress(Callback):
    """Ten lines per run, where a progress bar would fill a log file."""

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs
        if epoch * 10 // total > (epoch - 1) * 10 // total:
            figures = ", ".join(
                f"{name} {float(value):.4g}" for name, value in sorted(trainer.callback_metrics.items())
            )
            logger.info("epoch %d of %d: %s", epoch, total, figures)
