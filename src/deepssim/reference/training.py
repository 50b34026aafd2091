"""The reference's command that trains the encoder: pairs with their SSIM in, an experiment's folder out.

Not here: the training (encoders/deepssim.py), scores (reference_scores.py).
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, Recipe
from deepssim.config.paper import PAPER_ENCODER
from deepssim.config.settings import load_config, parse_config
from deepssim.datasets.tables import Split
from deepssim.encoders.deepssim import save_encoder
from deepssim.encoders.families import Families, copies_in_pairs
from deepssim.encoders.published import save_torchscript
from deepssim.encoders.recipes import PairImages, train_deepssim
from deepssim.errors import DataError
from deepssim.ground_truth.tables import read_pairs
from deepssim.images.keys import checked_keys
from deepssim.images.tree import find_keys, read_images
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.provenance import state_folder

logger = logging.getLogger(__name__)


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
    """Train the DeepSSIM encoder: `logs/<exp_name>/checkpoints/best_model.safetensors` and `best_model_jit.pt`.

    Args:
        exp_name: name of the experiment's folder.
        dataset_images_dir: image tree.
        dataset_csv: pairs.
        encoder: changes of section `encoder`; None leaves a setting as it is.
        config: config file or None for the paper's settings.
        use_gpu, seed, threads: how to compute.
    """
    base = load_config(config).encoder if config else PAPER_ENCODER
    changes = {name: value for name, value in encoder.items() if value is not None}
    options = parse_config({"encoder": as_settings(base) | changes}).encoder
    table = read_pairs(dataset_csv)
    sides = [checked_keys(list(dict.fromkeys(table[side])), dataset_csv) for side in ("real_key", "synth_key")]
    packs = [
        read_images(find_keys(dataset_images_dir, keys), place=dataset_images_dir, threads=threads) for keys in sides
    ]
    parts = {split: table[table["split"] == split.value] for split in (Split.TRAIN, Split.VALID)}
    empty = [split.value for split, part in parts.items() if part.empty]
    if empty:
        raise DataError(f"{dataset_csv}: {len(empty)} of 2 splits have no pair, first {empty[0]!r}; add pairs to it")
    place = Path("logs", exp_name)
    final = {
        "weights": place / "checkpoints" / "best_model.safetensors",
        "scripted": place / "checkpoints" / "best_model_jit.pt",
        "history": place / "history.csv",
    }
    pixels = [hashlib.sha256(pack.images.tobytes()).hexdigest() for pack in packs]
    pairs = parts[Split.TRAIN]
    train_data: Families | PairImages = PairImages(pairs, *packs)
    if options.recipe is Recipe.ALL_PAIRS:
        anchors = packs[0].select(list(dict.fromkeys(pairs["real_key"])))
        train_data = Families(anchors, [copies_in_pairs(pairs, packs[1])], threads=threads)
    network, trained = train_deepssim(
        train_data,
        PairImages(parts[Split.VALID], *packs),
        options,
        seed=seed,
        device=Device.AUTO if use_gpu else Device.CPU,
        state=state_folder(
            "train_deepssim", place / "weights", [as_settings(options), seed, use_gpu, pixels], [dataset_csv]
        ),
    )
    with atomic_outputs(final) as files:
        trained.write_history(files["history"])
        save_encoder(files["weights"], network)
        save_torchscript(files["scripted"], network, packs[0].images.shape[1:])
    logger.info("%s and %s", final["weights"], final["scripted"])
