"""The reference's command that trains the encoder: pairs with their SSIM in, an experiment's folder out.

Not here: the training (encoders/recipes.py), scores (scores.py).
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, Recipe
from deepssim.config.paper import PAPER_ENCODER
from deepssim.config.settings import Config, load_config, parse_config
from deepssim.datasets.tables import Split
from deepssim.encoders.deepssim import save_encoder
from deepssim.encoders.families import Families, copies_in_pairs
from deepssim.encoders.published import save_torchscript
from deepssim.encoders.recipes import PairImages, train_deepssim
from deepssim.errors import ConfigError, DataError
from deepssim.ground_truth.tables import read_pairs
from deepssim.images.keys import checked_keys
from deepssim.images.packs import ImagePack
from deepssim.images.tree import find_keys, read_images
from deepssim.reference.epoch_metrics import EpochMetrics
from deepssim.reference.options import logs_folder
from deepssim.runtime.outputs import atomic_outputs, require_writable
from deepssim.runtime.provenance import state_folder
from deepssim.training.driver import read_checkpoint

logger = logging.getLogger(__name__)


_CHECKPOINTS = {
    "weights": "best_model.safetensors",
    "scripted": "best_model_jit.pt",
    "optimizer": "optimizer_state.pth",
}
_UNSAFE = re.compile(r"[/\\\x00-\x1f]|^\.{0,2}$")


def train(
    *,
    exp_name: str,
    dataset_images_dir: str,
    dataset_csv: str,
    encoder: dict[str, Any],
    config: str | None,
    use_gpu: bool,
    seed: int,
    threads: int,
) -> None:
    """Train the DeepSSIM encoder and fill `logs/<exp_name>`.

    `checkpoints/` holds the encoder as `best_model.safetensors` and, for the reference, as `best_model_jit.pt`, with the
    optimiser's state of the same epoch, `optimizer_state.pth`; `tensorboard/` and `history.csv` the course of the training.

    Args:
        exp_name: name of the experiment's folder.
        dataset_images_dir: image tree.
        dataset_csv: pairs; rows of other splits than `train` and `valid` are ignored.
        encoder: changes of section `encoder`; None leaves a setting as it is.
        config: config file, of which sections `encoder` and `tracking` apply, or None for the paper's settings.
        use_gpu, seed, threads: how to compute.

    Raises:
        ConfigError: if the experiment's name would lead out of `logs`.
        DataError: if a split has no pair.
    """
    place = _folder(exp_name)
    base = load_config(config) if config else Config(encoder=PAPER_ENCODER)
    changes = {name: value for name, value in encoder.items() if value is not None}
    options = parse_config({"encoder": as_settings(base.encoder) | changes}).encoder
    pairs, packs = _read(dataset_csv, dataset_images_dir, threads)
    pixels = [hashlib.sha256(pack.images.tobytes()).hexdigest() for pack in packs]
    train_data: Families | PairImages = PairImages(pairs[Split.TRAIN], *packs)
    if options.recipe is Recipe.ALL_PAIRS:
        anchors = packs[0].select(list(dict.fromkeys(pairs[Split.TRAIN]["real_key"])))
        train_data = Families(anchors, [copies_in_pairs(pairs[Split.TRAIN], packs[1])], threads=threads)
    state = state_folder(
        "train_deepssim", place / "weights", [as_settings(options), seed, use_gpu, pixels], [dataset_csv]
    )
    network, trained = train_deepssim(
        train_data,
        PairImages(pairs[Split.VALID], *packs),
        options,
        seed=seed,
        device=Device.AUTO if use_gpu else Device.CPU,
        state=state,
        observers=[EpochMetrics(place / "tensorboard")],
        tracking=base.tracking,
    )
    final = {name: place / "checkpoints" / file for name, file in _CHECKPOINTS.items()}
    final["history"] = place / "history.csv"
    with atomic_outputs(final) as files:
        trained.write_history(files["history"])
        save_encoder(files["weights"], network)
        save_torchscript(files["scripted"], network, packs[0].images.shape[1:])
        torch.save(read_checkpoint(state / f"{options.keep.value}.ckpt")["optimizer_states"][0], files["optimizer"])
    logger.info("%s and %s", final["weights"], final["scripted"])


def _folder(exp_name: str) -> Path:
    """Return the folder of an experiment, which is one in `logs`."""
    if _UNSAFE.search(exp_name) or Path(exp_name).name != exp_name:
        raise ConfigError(
            f"--exp_name {exp_name!r} cannot name a folder in logs; use a name without '/', '\\' and control characters, "
            "other than '.' and '..'"
        )
    place = logs_folder() / exp_name
    require_writable(place, "the folder of --exp_name")
    return place


def _read(dataset_csv: str, root: str, threads: int) -> tuple[dict[Split, pd.DataFrame], list[ImagePack]]:
    """Return the pairs of both splits, and the packs of their real and synthetic images."""
    splits = (Split.TRAIN, Split.VALID)
    table = read_pairs(dataset_csv, splits)
    pairs = {split: table[table["split"] == split.value] for split in splits}
    empty = [split.value for split, part in pairs.items() if part.empty]
    if empty:
        raise DataError(f"{dataset_csv}: {len(empty)} of 2 splits have no pair, first {empty[0]!r}; add pairs to it")
    sides = [checked_keys(list(dict.fromkeys(table[side])), dataset_csv) for side in ("real_key", "synth_key")]
    return pairs, [read_images(find_keys(root, keys), place=root, threads=threads) for keys in sides]
