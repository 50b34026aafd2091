"""Files that the reference code writes while it trains: weights of epochs, histories, pictures, the rows used.

Not here: the training (generative/), the weights at its end (generation.py).

Source: file names and columns of the DeepSSIM reference code (arXiv:2509.16582); epochs are counted from 0, as there.
"""

import csv
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from deepssim.config.generative import VaeConfig
from deepssim.datasets.tables import read_csv, write_csv
from deepssim.images.keys import split_key
from deepssim.images.sheets import save_grid
from deepssim.runtime.outputs import atomic_outputs
from deepssim.training.callbacks import TRAIN_LOSS, VALID_LOSS, kept_weights, picture_path

_Convert = Callable[[Any], Mapping[str, Tensor]]

_BATCHES_PER_ROW = 50
_BATCHES_PER_STEP = 10  # the reference divides the number of the batch by it
_DIGITS = 4
_EPOCHS_PER_FILE = 20
_DIFFUSION_COLUMNS = ("epoch", "mode", "loss")


class AutoencoderFiles(Callback):
    """Write the reference's files of an autoencoder's training.

    `models/autoencoder-ep-<epoch>.pth` and `models/discriminator-ep-<epoch>.pth` after every epoch; every 50 batches a row of
    `history.csv` (no header; batch // 10, then the weighted losses since the row before: reconstruction, perceptual,
    adversarial of the generator, KL, discriminator) and `plots/<batch // 10>-recon.png`.

    Args:
        place: output folder.
        options: section `vae`, for the weights of the losses.
        convert: function of the autoencoder that returns the state dict to write.
    """

    def __init__(self, place: Path, options: VaeConfig, convert: _Convert) -> None:
        self.place, self.convert = place, convert
        self.weights = {
            f"{TRAIN_LOSS}_l1": 1.0,
            f"{TRAIN_LOSS}_perceptual": options.perceptual_weight,
            f"{TRAIN_LOSS}_adversarial": options.adversarial_weight,
            f"{TRAIN_LOSS}_kl": options.kl_weight,
            f"{TRAIN_LOSS}_discriminator": options.adversarial_weight,
        }
        self.batches = 0
        self.losses: list[Tensor] = []  # of each batch since the last row
        self.rows: list[list[float]] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        zero = torch.zeros((), device=module.device)  # a term that is switched off
        self.losses.append(
            torch.stack([module.terms.get(name, zero).float() * weight for name, weight in self.weights.items()])
        )
        if self.batches % _BATCHES_PER_ROW == 0:
            step = self.batches // _BATCHES_PER_STEP
            means = torch.stack(self.losses).mean(0).tolist()
            self.rows.append([step, *(round(value, _DIGITS) for value in means)])
            self.losses = []
            if trainer.is_global_zero:
                _write_csv(self.place / "history.csv", self.rows)
                self._save_picture(module.network, batch[0][:1], step)
        self.batches += 1

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if trainer.is_global_zero:
            _save(self.place, "autoencoder", trainer.current_epoch, self.convert(module.network))
            if module.discriminator is not None:
                weights = {name: value.cpu() for name, value in module.discriminator.state_dict().items()}
                _save(self.place, "discriminator", trainer.current_epoch, weights)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches, "losses": [loss.tolist() for loss in self.losses], "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches, self.rows = state["batches"], list(state["rows"])
        self.losses = [torch.tensor(loss) for loss in state["losses"]]

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.losses = [loss.to(module.device) for loss in self.losses]  # those of a resumed run

    def _save_picture(self, network: Any, image: Tensor, step: int) -> None:
        with torch.no_grad():
            pair = np.stack([part[0, 0].float().cpu().numpy() for part in (image, network.reconstruct(image))])
        with atomic_outputs({"picture": self.place / "plots" / f"{step}-recon.png"}) as files:
            save_grid(files["picture"], [pair], [None], 1.0, ("image", "reconstruction"))


class DiffusionFiles(Callback):
    """Write the reference's files of a diffusion model's training.

    `models/unet-ep-<epoch>.pth` where the validation loss improved and every 20th epoch; `history.csv` with one row per epoch
    and mode (`epoch`, `mode`: train or valid, `loss`); `plots/gen_<epoch>_train.png` where images are generated to count copies.

    Args:
        place: output folder.
        convert: function of the noise predictor that returns the state dict to write.
    """

    def __init__(self, place: Path, convert: _Convert) -> None:
        self.place, self.convert = place, convert
        self.best = float("inf")
        self.rows: list[list[float | str]] = []

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        epoch, metrics = trainer.current_epoch, trainer.callback_metrics
        self.rows.append([epoch, "train", float(metrics[TRAIN_LOSS])])
        # Lightning keeps the metrics of earlier epochs.
        validated = VALID_LOSS in metrics and (epoch + 1) % trainer.check_val_every_n_epoch == 0
        kept = epoch % _EPOCHS_PER_FILE == 0
        if validated:
            loss = float(metrics[VALID_LOSS])
            self.rows.append([epoch, "valid", loss])
            kept = kept or loss < self.best
            # As in the reference, every file that is written sets the loss that the next has to improve.
            self.best = loss if kept else self.best
        if not trainer.is_global_zero:
            return
        _write_csv(self.place / "history.csv", [_DIFFUSION_COLUMNS, *self.rows])
        if kept:
            with kept_weights(trainer, module):
                _save(self.place, "unet", epoch, self.convert(module.network))
        if picture_path(trainer).exists():
            with atomic_outputs({"picture": self.place / "plots" / f"gen_{epoch}_train.png"}) as files:
                shutil.copyfile(picture_path(trainer), files["picture"])

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.rows = state["best"], list(state["rows"])


def write_rows_used(path: str, dataset_csv: str, copies_csv: str) -> None:
    """Write the rows of the dataset's table that were trained on, each as often as it occurred in an epoch.

    Args:
        path: CSV to write, with all columns of the table.
        dataset_csv: the table.
        copies_csv: `key` and `copies` of the training images.
    """
    table, used = read_csv(dataset_csv, needs=("image_uid",)), read_csv(copies_csv, needs=("key", "copies"))
    place_of = {str(uid): row for row, uid in enumerate(table["image_uid"])}
    uids = [split_key(key)[0] for key in used["key"]]
    rows = []
    for uid in uids:
        named = uid
        while named not in place_of:  # the slices of a volume have their number added to its uid
            named = named.rpartition("_")[0]
        rows.append(place_of[named])
    repeated = table.iloc[np.repeat(rows, used["copies"])]
    write_csv(path, repeated.assign(image_uid=np.repeat(uids, used["copies"])))


def _save(place: Path, name: str, epoch: int, weights: Mapping[str, Tensor]) -> None:
    """Write the weights of an epoch."""
    with atomic_outputs({"weights": place / "models" / f"{name}-ep-{epoch}.pth"}) as files:
        torch.save(dict(weights), files["weights"])


def _write_csv(path: Path, rows: Sequence[Sequence[float | str]]) -> None:
    with (
        atomic_outputs({"history": path}) as files,
        Path(files["history"]).open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(rows)
