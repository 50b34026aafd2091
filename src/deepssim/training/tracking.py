"""Where a training run can be watched: TensorBoard always, Weights & Biases if the config names a project.

Not here: the history that the workflow keeps (training_callbacks.py).
"""

import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image

from deepssim.config.choices import WandbMode
from deepssim.config.training import TrackingConfig
from deepssim.errors import ConfigError


def loggers(state: Path, options: TrackingConfig) -> list[Logger]:
    """Return Lightning's loggers for a run.

    Args:
        state: folder of the run; what is recorded lies in it.
        options: section `tracking`.

    Raises:
        ConfigError: if wandb is asked for and not installed, or is to be online without a key.
    """
    board = TensorBoardLogger(state, name="", version="tensorboard")
    if options.wandb_project is None:
        return [board]
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise ConfigError(
            "tracking.wandb_project is set, but wandb is not installed; `pip install wandb`, or set it to null"
        ) from None
    online = options.wandb_mode is WandbMode.ONLINE
    if online and not _has_key():
        raise ConfigError(
            "tracking.wandb_mode is 'online', but there is no key; set WANDB_API_KEY or run `wandb login` once, or set it "
            "to 'offline' and send the run later with `wandb sync`"
        )
    return [board, WandbLogger(project=options.wandb_project, save_dir=state, offline=not online, id=state.name)]


def _has_key() -> bool:
    """Return whether wandb has a key; without one it would ask on the terminal, where nobody may sit."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(str(host)) is not None  # where `wandb login` keeps it
    except (OSError, netrc.NetrcParseError):
        return False


def show_picture(all_loggers: Sequence[Logger], picture: Path, epoch: int) -> None:
    """Send a picture to every logger that shows pictures."""
    for one in all_loggers:
        if isinstance(one, TensorBoardLogger):
            pixels: Any = np.asarray(Image.open(picture).convert("RGB"))
            one.experiment.add_image("picture", pixels, epoch, dataformats="HWC")
        elif isinstance(one, WandbLogger):
            one.log_image("picture", [str(picture)], step=None)


def finish(all_loggers: Sequence[Logger]) -> None:
    """Write out what loggers still hold."""
    for one in all_loggers:
        if isinstance(one, WandbLogger):
            one.experiment.finish()
