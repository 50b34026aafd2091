"""The one place that drives a training run: device, precision, loggers, checkpoints, resume.

A run keeps its checkpoints and logs in a state folder and continues from there after a kill. All randomness of a step
is a function of seed and step number, so a resumed run ends with the weights of an undisturbed one.

Not here: the models and their losses, which are LightningModules in generative/ and encoders/; what happens at the end
of an epoch (training_callbacks.py); where a run can be watched (tracking.py).
"""

import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

from deepssim.choices import Decay, Device, Keep
from deepssim.config import TrackingConfig, TrainingConfig
from deepssim.devices import resolve_device, training_precision, weights_of
from deepssim.errors import DataError
from deepssim.seeds import torch_generator
from deepssim.tracking import finish, loggers
from deepssim.training_callbacks import (
    TRAIN_LOSS,
    VALID_LOSS,
    Average,
    History,
    Inspection,
    closing,
    opening,
    write_rows,
)

logger = logging.getLogger(__name__)

_WARM_UP_STEPS = 50  # the first steps of Adam are large, whatever the gradient; from 0.001 on that can spoil a run
_SHARE_OF_DEVICE = 0.25  # of a GPU's free memory that training data may take


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
        write_rows(path, self.history)


class Batched(Dataset):
    """Tensors in memory, indexed by a whole batch at once: no per-item Python work, no collation.

    Args:
        tensors: each with N rows.
        copies: how often each row occurs in a pass over the data; once unless given.
    """

    def __init__(self, *tensors: torch.Tensor, copies: Sequence[int] | None = None) -> None:
        self.tensors = tensors
        self.rows = None if copies is None else np.repeat(np.arange(len(tensors[0])), copies)

    def __len__(self) -> int:
        return len(self.tensors[0]) if self.rows is None else len(self.rows)

    def __getitem__(self, rows: Sequence[int]) -> tuple[torch.Tensor, ...]:
        chosen = rows if self.rows is None else self.rows[list(rows)].tolist()
        return tuple(tensor[chosen] for tensor in self.tensors)

    def rows_for(self, batch_size: int) -> int:
        """Return how many rows make a batch; a row of some data stands for several images."""
        return batch_size

    @property
    def bytes_held(self) -> int:
        """Memory that the tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def move(self, target: torch.device) -> None:
        """Put the tensors onto a GPU if they leave most of its memory free; batches then need no transfer."""
        if target.type == "cuda" and self.bytes_held < _SHARE_OF_DEVICE * torch.cuda.mem_get_info(target)[0]:
            self.tensors = tuple(tensor.to(target) for tensor in self.tensors)


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
    ema_decay: float = 0.0,
    inspection: Inspection | None = None,
    tracking: TrackingConfig | None = None,
) -> Trained:
    """Train a module, or continue its training, and return it with the weights to keep.

    Args:
        module: logs `train_loss` in every training step and `valid_loss` in every validation step; its network is in
            the attribute `network`.
        train_data: what the module's training step takes, batch by batch.
        valid_data: the same, or None to choose the best checkpoint by training loss.
        options: epochs, batch size and so on.
        seed: the config's seed.
        device: where to train.
        state: folder of this run's checkpoints and logs; an interrupted run found there is continued.
        gradient_norm: clip gradients to this norm.
        ema_decay: validate and keep an exponential average of the weights; 0 for the weights themselves.
        inspection: looks at the module now and then.
        tracking: where the run can be watched; TensorBoard only unless given.

    Raises:
        ConfigError: if the device is not there.
        DataError: if the loss is not finite any more, or what was saved earlier does not fit.
    """
    # Set here, because importing Lightning sets it to INFO: which devices were not found, and advertising.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    state.mkdir(parents=True, exist_ok=True)
    target = resolve_device(device)
    if target.type == "cuda":
        module.to(memory_format=torch.channels_last)
    if options.compile:
        module.network.compile()
    monitor = VALID_LOSS if valid_data is not None else TRAIN_LOSS
    history = History(options.validate_every, state / "history.csv")
    callbacks: list[Callback] = [*([Average(ema_decay)] if ema_decay else []), *opening(seed)]
    callbacks += [*([inspection] if inspection else []), history, *_checkpoints(state, monitor, options.validate_every)]
    callbacks += closing(state, train_data.bytes_held)
    saved = state / f"{Keep.LAST.value}.ckpt"
    resume = saved if saved.exists() else None
    if resume:
        logger.info("continuing the training found in %s", state)
    for data in (train_data, valid_data):
        if data is not None:
            data.move(target)
    with warnings.catch_warnings():
        # Lightning's advice on workers and logging intervals does not fit data that lies in memory, and its own use of
        # torch is not the user's concern.
        advice = ".*(num_workers|log_every_n_steps|exists and is not|no `val_dataloader`|LeafSpec).*"
        warnings.filterwarnings("ignore", module="lightning", message=advice)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        trainer = _trainer(target, module, options, state, callbacks, gradient_norm, tracking or TrackingConfig())
        try:
            # Only files that this program wrote lie in the state folder; optimiser states need more than tensors.
            trainer.fit(
                module,
                _loader(train_data, options.batch_size, _Shuffled(train_data, options.passes, seed, trainer)),
                None if valid_data is None else _loader(valid_data, options.batch_size, SequentialSampler(valid_data)),
                ckpt_path=resume,
                weights_only=False,
            )
        finally:
            finish(trainer.loggers)
    module.load_state_dict(read_checkpoint(state / f"{options.keep.value}.ckpt")["state_dict"])
    return Trained(module.eval().cpu(), history.rows)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this program's own making.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({' '.join(str(error).split())}); remove {path.parent}") from None


class _WholeCheckpoints(TorchCheckpointIO):
    """Let a checkpoint take the place of the last one only when it is whole, on the same file system."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        part = Path(path).with_name(f".part-{Path(path).name}")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))


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
    target: torch.device,
    module: lightning.LightningModule,
    options: TrainingConfig,
    state: Path,
    callbacks: list[Callback],
    gradient_norm: float | None,
    tracking: TrackingConfig,
) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="gpu" if target.type == "cuda" else "cpu",
        devices=1,
        precision=training_precision(target, options.precision, weights_of(module)),
        max_epochs=_whole_intervals(options),
        check_val_every_n_epoch=options.validate_every,
        # A module that steps its optimisers itself adds up gradients itself, too.
        accumulate_grad_batches=options.accumulate if module.automatic_optimization else 1,
        gradient_clip_val=gradient_norm,
        callbacks=callbacks,
        plugins=[_WholeCheckpoints()],
        logger=loggers(state, tracking),
        log_every_n_steps=50,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=state,
    )


def with_decay(module: lightning.LightningModule, optimizer: torch.optim.Optimizer, options: TrainingConfig) -> Any:
    """Return what `configure_optimizers` returns: the optimiser, and the schedule of its learning rate if it has one."""
    if options.decay is Decay.CONSTANT:
        return {"optimizer": optimizer}
    trainer = module.trainer
    steps = int(trainer.estimated_stepping_batches)
    if not module.automatic_optimization:
        steps = -(-steps // trainer.max_epochs // options.accumulate) * trainer.max_epochs
    warm_up = min(_WARM_UP_STEPS, max(1, steps // 20))

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _loader(data: Batched, batch_size: int, order: Sampler) -> DataLoader:
    return DataLoader(data, sampler=BatchSampler(order, data.rows_for(batch_size), drop_last=False), batch_size=None)


def _whole_intervals(options: TrainingConfig) -> int:
    """Round the epochs up to whole validation intervals, so that the last epoch is validated and saved."""
    return -(-options.epochs // options.validate_every) * options.validate_every


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
