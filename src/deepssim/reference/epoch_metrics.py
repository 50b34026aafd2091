"""What the reference prints and records of every epoch of `train`, under its names.

Not here: the history that this program keeps (training/callbacks.py).

Source: printed lines and TensorBoard scalars of the DeepSSIM reference code (arXiv:2509.16582).
"""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback

from deepssim.training.tracking import send_metrics

_LINES = {
    "loss_mean": "Loss [MSE]",
    "loss_std": "Standard Deviation [MSE]",
    "mae": "Performance [MAE]",
}


class EpochMetrics(Callback):
    """Print three lines per epoch and mode, and record them for TensorBoard and Weights & Biases.

    The modes are `train` and `valid`; epochs count from 0, as in the reference.

    Args:
        folder: of TensorBoard's files.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder
        self.batches: dict[str, list[tuple[float, float, int]]] = {"train": [], "valid": []}

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Open TensorBoard's file; a resumed run replaces the epochs that it repeats."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.folder, purge_step=trainer.current_epoch)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep the errors of a batch."""
        self._keep("train", outputs)

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the errors of a batch."""
        self._keep("valid", outputs)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Print and record the epoch; Lightning has validated it by then."""
        for mode, batches in self.batches.items():
            if batches:
                values = summarise(batches)
                for name, line in _LINES.items():
                    print(f"{line} = {values[name]}")
                    self.writer.add_scalar(f"{mode}/{name}", values[name], trainer.current_epoch)
                named = {f"{mode}/{name}": value for name, value in values.items()}
                send_metrics(trainer.loggers, named, trainer.current_epoch)
                batches.clear()
        self.writer.flush()

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Close TensorBoard's file."""
        self.writer.close()

    def _keep(self, mode: str, outputs: Any) -> None:
        self.batches[mode].append((float(outputs["squared_error"]), float(outputs["absolute_error"]), outputs["rows"]))


def summarise(batches: list[tuple[float, float, int]]) -> dict[str, float]:
    """Return `loss_mean`, `loss_std` and `mae` of an epoch.

    Args:
        batches: mean squared error, mean absolute error and number of pairs of each batch.

    Returns:
        Means over all pairs, and the standard deviation (n - 1) between batches, in which each counts as often as it has
        pairs; 0 for a single pair.
    """
    squared, absolute, pairs = (np.array(column) for column in zip(*batches, strict=True))
    repeated = np.repeat(squared, pairs)
    return {
        "loss_mean": float(repeated.mean()),
        "loss_std": float(repeated.std(ddof=1)) if len(repeated) > 1 else 0.0,
        "mae": float(np.average(absolute, weights=pairs)),
    }
