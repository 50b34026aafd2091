"""Experiment tracking: TensorBoard always, Weights & Biases if the config names a project.

Not here: the history that the workflow keeps (callbacks.py).
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
        state: folder of the run, in which the loggers write their files.
        options: section `tracking`.

    Raises:
        ConfigError: if wandb is requested but not installed, or online without an API key.
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
            "tracking.wandb_mode is 'online', but there is no API key; set WANDB_API_KEY or run `wandb login` once, or set "
            "the mode to 'offline' and upload the run later with `wandb sync`"
        )
    return [
        board,
        WandbLogger(project=options.wandb_project, save_dir=state.absolute(), offline=not online, id=state.name),
    ]


def _has_key() -> bool:
    """Return whether wandb has an API key; without one it would wait for input on the terminal."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(str(host)) is not None  # where `wandb login` stores it
    except (OSError, netrc.NetrcParseError):
        return False


def show_picture(all_loggers: Sequence[Logger], picture: Path, epoch: int) -> None:
    """Send a picture to every logger.

    Args:
        all_loggers: loggers of the run.
        picture: PNG file.
        epoch: epoch in which it was made.
    """
    for logger in all_loggers:
        if isinstance(logger, TensorBoardLogger):
            pixels: Any = np.asarray(Image.open(picture).convert("RGB"))
            logger.experiment.add_image("picture", pixels, epoch, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image("picture", [str(picture)], step=None)


def send_metrics(all_loggers: Sequence[Logger], metrics: dict[str, float], epoch: int) -> None:
    """Send further metrics of an epoch to Weights & Biases, if it is among the loggers.

    Args:
        all_loggers: loggers of the run.
        metrics: by name.
        epoch: epoch that they describe.
    """
    for logger in all_loggers:
        if isinstance(logger, WandbLogger):
            logger.log_metrics(metrics | {"epoch": epoch})


def finish(all_loggers: Sequence[Logger]) -> None:
    """Finish the runs of Weights & Biases among the loggers, which uploads their last data."""
    for logger in all_loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
