"""Drive a training run: device, precision, loggers, checkpoints, resuming.

A run keeps its checkpoints and logs in a state folder and resumes from there after an interruption. The randomness of a step
is a function of seed and step number, so a resumed run ends with the same weights as an uninterrupted one.

Not here: the models and their losses, which are LightningModules in generative/ and encoders/; shuffling and batches
(data.py); callbacks (callbacks.py); starting several processes (runtime/processes.py); experiment tracking (tracking.py).
"""

import logging
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO

from deepssim.config.choices import Decay, Device, Keep
from deepssim.config.training import TrackingConfig, TrainingConfig
from deepssim.errors import DataError
from deepssim.runtime.devices import (
    count_parameters,
    keep_freed_memory,
    resolve_device,
    to_channels_last,
    training_precision,
)
from deepssim.runtime.locks import hold_lock
from deepssim.runtime.processes import Processes, end_worker, in_slurm, is_worker, train_together
from deepssim.training.callbacks import (
    TRAIN_LOSS,
    VALID_LOSS,
    Average,
    History,
    Inspection,
    progress_callbacks,
    step_callbacks,
    write_rows,
)
from deepssim.training.data import Batched, train_loader, valid_loader
from deepssim.training.tracking import finish, loggers

logger = logging.getLogger(__name__)

LAST = f"{Keep.LAST.value}.ckpt"
_WARM_UP_STEPS = 50  # Adam's first steps are large for any gradient, and learning rates from 0.001 can diverge in them


@dataclass(frozen=True)
class Trained:
    """Outcome of a training run.

    Attributes:
        module: module in evaluation mode, on the CPU, with the weights of the epoch that the config asks to keep.
        history: one row per validated epoch: `epoch`, `step` and the logged metrics.
    """

    module: lightning.LightningModule
    history: list[dict[str, float]]

    def write_history(self, path: str | Path) -> None:
        """Write the history as CSV; metrics missing in a row stay empty."""
        write_rows(path, self.history)


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
    observers: Sequence[Callback] = (),
    tracking: TrackingConfig | None = None,
    processes: Processes | None = None,
) -> Trained:
    """Train a module, or resume its training, and return it with the weights to keep.

    Args:
        module: logs `train_loss` in every training step and `valid_loss` in every validation step; its network is the
            attribute `network`.
        train_data: batches for the module's training step.
        valid_data: batches for its validation step; None to choose the best checkpoint by training loss.
        options: epochs, batch size and other settings that all training runs have.
        seed: the config's seed.
        device: where to train.
        state: folder of this run's checkpoints and logs; an interrupted run found there is resumed.
        gradient_norm: norm to which gradients are clipped; no clipping unless given.
        ema_decay: decay of an exponential moving average of the weights, validated and kept in their place; 0 for none.
        inspection: callback that evaluates the network at regular intervals.
        observers: callbacks that follow the run; with any, every epoch is logged.
        tracking: section `tracking`; TensorBoard only unless given.
        processes: number of processes, one unless given; workers exit after training, and only their parent returns.

    Raises:
        ConfigError, DataError: if the device is not available, the loss becomes infinite or NaN, or a checkpoint is damaged.
    """
    _quiet_lightning()
    state.mkdir(parents=True, exist_ok=True)
    monitor = VALID_LOSS if valid_data is not None else TRAIN_LOSS
    history = History(options.validate_every, state / "history.csv")
    before = [Average(ema_decay) if ema_decay else None, *step_callbacks(seed), inspection, *observers]
    progress = progress_callbacks(state, train_data.bytes_held, every_epoch=bool(observers))
    callbacks = [*filter(None, before), history, *_checkpoints(state, monitor, options.validate_every), *progress]
    processes = processes or Processes()
    # Workers inherit the lock of the process that started them.
    waiting = f"waiting for another training run to end that uses {state}"
    with nullcontext(-1) if is_worker() else hold_lock(state / ".lock", waiting) as lock:
        if processes.count > 1 and not is_worker():
            resolve_device(device)
            train_together(processes, lock)
            history.load_state_dict(read_checkpoint(state / LAST)["callbacks"][history.state_key])
        else:
            with _silenced_warnings():
                trainer = _trainer(device, module, options, state, callbacks, gradient_norm, tracking, processes)
                _fit(trainer, module, train_data, valid_data, options, seed, state)
        if is_worker():
            end_worker()
        module.load_state_dict(read_checkpoint(state / f"{options.keep.value}.ckpt")["state_dict"])
    return Trained(module.eval().cpu(), history.rows)


def _quiet_lightning() -> None:
    """Raise the log level of Lightning, which importing it sets to INFO: missing devices, advertisements."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _fit(
    trainer: lightning.Trainer,
    module: lightning.LightningModule,
    train_data: Batched,
    valid_data: Batched | None,
    options: TrainingConfig,
    seed: int,
    state: Path,
) -> None:
    """Train to the end, from the last checkpoint in the state folder if there is one."""
    target = trainer.strategy.root_device
    if target.type == "cuda":
        torch.cuda.set_device(target)  # for code that only names "cuda"
        to_channels_last(module)
    else:
        keep_freed_memory()
    if options.compile:
        module.network.compile()
    resume = state / LAST if (state / LAST).exists() else None
    if resume:
        logger.info("resuming the training found in %s", state)
    for data in (train_data, valid_data):
        if data is not None:
            data.move(target)
    try:
        trainer.fit(
            module,
            train_loader(train_data, options, seed, trainer),
            None if valid_data is None else valid_loader(valid_data, options),
            ckpt_path=resume,
            weights_only=True,
        )
    finally:
        finish(trainer.loggers)


@contextmanager
def _silenced_warnings() -> Iterator[None]:
    """Silence Lightning's warnings that do not apply: the data are in memory, and processes are started here."""
    with warnings.catch_warnings():
        advice = ".*(num_workers|log_every_n_steps|exists and is not|no `val_dataloader`|LeafSpec|`srun` command).*"
        warnings.filterwarnings("ignore", module="lightning", message=advice)
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # about Lightning's own use of torch
        yield


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a training run without running code from the file.

    Raises:
        DataError: if it is damaged or contains objects other than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise anything
        raise DataError(f"{path}: is damaged ({' '.join(str(error).split())}); remove {path.parent}") from None


class _SameLayout(Callback):
    """Give the moments of a resumed optimiser the memory layout of their weights.

    A run may go on where weights have another layout than where it began (`to_channels_last`). Fused optimisers walk through
    memory: on a GPU they refuse another layout, on a processor they combine moments of one weight with another.
    """

    def on_train_start(self, trainer: Any, module: Any) -> None:
        for optimizer in trainer.optimizers:
            for weight, state in optimizer.state.items():
                for name, value in state.items():
                    if torch.is_tensor(value) and value.shape == weight.shape and value.stride() != weight.stride():
                        state[name] = torch.empty_like(weight).copy_(value)


class _AtomicCheckpoints(TorchCheckpointIO):
    """Replace a checkpoint by rename, so that an interruption leaves the previous one intact."""

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
    """Keep the best of the validated epochs and the last epoch, so that an interruption costs one epoch at most.

    These are two callbacks, because `save_last` of a single one writes only when the best has improved. The third fits what
    a checkpoint gives back.
    """
    saving = (
        ModelCheckpoint(
            dirpath=state,
            filename=keep.value,
            monitor=metric,
            every_n_epochs=interval,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for keep, metric, interval in ((Keep.BEST, monitor, every), (Keep.LAST, None, 1))
    )
    return [*saving, _SameLayout()]


def _trainer(
    device: Device,
    module: lightning.LightningModule,
    options: TrainingConfig,
    state: Path,
    callbacks: list[Callback],
    gradient_norm: float | None,
    tracking: TrackingConfig | None,
    processes: Processes,
) -> lightning.Trainer:
    target = resolve_device(device)
    together = processes.count > 1
    # By default Lightning takes any Slurm job for one of several processes and keeps it from being cancelled.
    environment = SLURMEnvironment(auto_requeue=False) if together and in_slurm() else LightningEnvironment()
    return lightning.Trainer(
        accelerator="gpu" if target.type == "cuda" else "cpu",
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=_strategy(module) if together else "auto",
        use_distributed_sampler=False,  # data.py divides every batch
        sync_batchnorm=together and target.type == "cuda",
        precision=training_precision(target, options.precision, count_parameters(module)),
        max_epochs=_whole_intervals(options),
        check_val_every_n_epoch=options.validate_every,
        # A module with manual optimisation accumulates gradients itself.
        accumulate_grad_batches=options.accumulate if module.automatic_optimization else 1,
        gradient_clip_val=gradient_norm,
        callbacks=callbacks,
        plugins=[_AtomicCheckpoints(), environment],
        logger=loggers(state, tracking or TrackingConfig()),
        log_every_n_steps=50,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=state,
    )


def _strategy(module: lightning.LightningModule) -> str:
    """Return the DDP strategy: alternating optimisers leave weights without gradient, which DDP must search for."""
    return "ddp" if module.automatic_optimization else "ddp_find_unused_parameters_true"


def with_decay(module: lightning.LightningModule, optimizer: torch.optim.Optimizer, options: TrainingConfig) -> Any:
    """Combine an optimiser with the schedule of its learning rate: constant, or linear warm-up and cosine decay.

    Args:
        module: module that is being trained.
        optimizer: optimiser with the initial learning rate.
        options: settings of the training run.

    Returns:
        Return value for `configure_optimizers`.
    """
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


def _whole_intervals(options: TrainingConfig) -> int:
    """Round the epochs up to whole validation intervals, so that the last epoch is validated and saved."""
    return -(-options.epochs // options.validate_every) * options.validate_every
