"""The one place that drives a training run: device, precision, loggers, checkpoints, resume.

A run keeps its checkpoints and logs in a state folder and continues from there after a kill. All randomness of a step
is a function of seed and step number, so a resumed run ends with the weights of an undisturbed one.

Not here: the models and their losses, which are LightningModules in generative/ and encoders/; in what order data comes
(training_data.py); what happens at the end of an epoch (training_callbacks.py); processes that train together
(processes.py); where a run can be watched (tracking.py).
"""

import logging
import math
import sys
import warnings
from collections.abc import Iterator
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
from deepssim.runtime.devices import resolve_device, training_precision, weights_of
from deepssim.runtime.locks import held
from deepssim.runtime.processes import Processes, in_slurm, is_worker, train_together
from deepssim.training.callbacks import (
    TRAIN_LOSS,
    VALID_LOSS,
    Average,
    History,
    Inspection,
    closing,
    opening,
    write_rows,
)
from deepssim.training.data import Batched, train_loader, valid_loader
from deepssim.training.tracking import finish, loggers

logger = logging.getLogger(__name__)

LAST = f"{Keep.LAST.value}.ckpt"
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
    tracking: TrackingConfig | None = None,
    processes: Processes | None = None,
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
        processes: how many train together; one unless given. Of several, each ends after its training, and the program
            that started them returns.

    Raises:
        ConfigError: if the device is not there.
        DataError: if the loss is not finite any more, or what was saved earlier does not fit.
    """
    _quiet_lightning()
    state.mkdir(parents=True, exist_ok=True)
    monitor = VALID_LOSS if valid_data is not None else TRAIN_LOSS
    history = History(options.validate_every, state / "history.csv")
    before: list[Callback] = [*([Average(ema_decay)] if ema_decay else []), *opening(seed)]
    after = [history, *_checkpoints(state, monitor, options.validate_every), *closing(state, train_data.bytes_held)]
    callbacks = [*before, *([inspection] if inspection else []), *after]
    processes = processes or Processes()
    # The processes that train together inherit the lock of the one that started them.
    waiting = f"waiting for another training to end that uses {state}"
    with nullcontext(-1) if is_worker() else held(state / ".lock", waiting) as lock:
        if processes.count > 1 and not is_worker():
            resolve_device(device)
            train_together(processes, lock)
            history.load_state_dict(read_checkpoint(state / LAST)["callbacks"][history.state_key])
        else:
            with _quiet():
                trainer = _trainer(device, module, options, state, callbacks, gradient_norm, tracking, processes)
                _fit(trainer, module, train_data, valid_data, options, seed, state)
        if is_worker():
            raise SystemExit(0)
        module.load_state_dict(read_checkpoint(state / f"{options.keep.value}.ckpt")["state_dict"])
    return Trained(module.eval().cpu(), history.rows)


def _quiet_lightning() -> None:
    """Undo what importing Lightning does: at INFO it logs missing devices and advertisements."""
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
    """Train from where the state folder says to the end."""
    target = trainer.strategy.root_device
    if target.type == "cuda":
        torch.cuda.set_device(target)  # for all that only says "cuda"
        module.to(memory_format=torch.channels_last)
    if options.compile:
        module.network.compile()
    resume = state / LAST if (state / LAST).exists() else None
    if resume:
        logger.info("continuing the training found in %s", state)
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
def _quiet() -> Iterator[None]:
    """Leave out Lightning's advice that does not fit: data lies in memory, and how processes start is decided here."""
    with warnings.catch_warnings():
        advice = ".*(num_workers|log_every_n_steps|exists and is not|no `val_dataloader`|LeafSpec|`srun` command).*"
        warnings.filterwarnings("ignore", module="lightning", message=advice)
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # its own use of torch is not the user's concern
        yield


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a training; no code in the file is run.

    Raises:
        DataError: if it is damaged, or holds more than a training state.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise anything
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
    """Keep the best of the validated epochs and the last of all, so that a kill costs one epoch at most.

    Two callbacks, since the `save_last` of one writes only when the best has improved.
    """
    return [
        ModelCheckpoint(
            dirpath=state,
            filename=keep.value,
            monitor=figure,
            every_n_epochs=interval,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for keep, figure, interval in ((Keep.BEST, monitor, every), (Keep.LAST, None, 1))
    ]


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
    # Chosen here, or Lightning would take any job of Slurm for one of several processes and keep it from being cancelled.
    environment = SLURMEnvironment(auto_requeue=False) if together and in_slurm() else LightningEnvironment()
    return lightning.Trainer(
        accelerator="gpu" if target.type == "cuda" else "cpu",
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=_strategy(module) if together else "auto",
        use_distributed_sampler=False,  # training_data.py divides every batch
        sync_batchnorm=together and target.type == "cuda",
        precision=training_precision(target, options.precision, weights_of(module)),
        max_epochs=_whole_intervals(options),
        check_val_every_n_epoch=options.validate_every,
        # A module that steps its optimisers itself adds up gradients itself, too.
        accumulate_grad_batches=options.accumulate if module.automatic_optimization else 1,
        gradient_clip_val=gradient_norm,
        callbacks=callbacks,
        plugins=[_WholeCheckpoints(), environment],
        logger=loggers(state, tracking or TrackingConfig()),
        log_every_n_steps=50,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=state,
    )


def _strategy(module: lightning.LightningModule) -> str:
    """Two optimisers that take turns leave weights without gradient in each turn, which has to be looked for."""
    return "ddp" if module.automatic_optimization else "ddp_find_unused_parameters_true"


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


def _whole_intervals(options: TrainingConfig) -> int:
    """Round the epochs up to whole validation intervals, so that the last epoch is validated and saved."""
    return -(-options.epochs // options.validate_every) * options.validate_every
