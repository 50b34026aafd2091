"""Stages from the data set to synthetic images.

Not here: scores and the encoder (comparison.py), figures (evaluation.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from deepssim.errors import ConfigError
from deepssim.settings import as_settings
from deepssim.stages.shards import join_packs, shard_of

logger = logging.getLogger(__name__)

# Raise when a change of the library alters what a training makes, so that no older training state is continued.
VAE_RECIPE = 2
LDM_RECIPE = 2


def prepare_dataset(*, images: str, pack: str, config: Any, threads: int = 1) -> None:
    """Read the real images into an image table and a pack."""
    from deepssim.datasets.prepare import prepare_dataset
    from deepssim.datasets.tables import write_csv
    from deepssim.images.packs import write_pack

    table, content = prepare_dataset(config.dataset, seed=config.seed, threads=threads)
    write_csv(images, table)
    write_pack(pack, content)
    counts = table.groupby("split", sort=False)["subject"].agg(["size", "nunique"])
    for split, row in counts.iterrows():
        logger.info("%s: %d images of %d subjects", split, row["size"], row["nunique"])


def misalign(*, pack: str, misaligned: str, config: Any) -> None:
    """Write a copy of a pack in which every image is misaligned independently."""
    from deepssim.images.augment import misalign_pack
    from deepssim.images.packs import read_pack, write_pack

    write_pack(misaligned, misalign_pack(read_pack(pack), config.evaluation.misalignment, config.seed))


def train_vae(*, images: str, pack: str, weights: str, history: str, reconstructions: str, config: Any) -> None:
    """Train the autoencoder on the train split."""
    from deepssim.datasets.tables import Split, keys_of, read_images
    from deepssim.devices import resolve_device
    from deepssim.generative.autoencoder import (
        reconstruct,
        save_autoencoder,
        save_reconstructions,
        train_autoencoder,
    )
    from deepssim.images.packs import ImagePack, read_pack
    from deepssim.images.standardize import quantise
    from deepssim.processes import Processes
    from deepssim.provenance import state_folder

    table, content = read_images(images), read_pack(pack)
    train_images = content.select(keys_of(table, Split.TRAIN))
    network, trained = train_autoencoder(
        train_images,
        content.select(keys_of(table, Split.VALID)),
        config.vae,
        seed=config.seed,
        device=config.device,
        state=state_folder(
            weights,
            [as_settings(config.vae), config.seed, config.device, config.devices, config.nodes],
            [images, pack],
            recipe=VAE_RECIPE,
        ),
        tracking=config.tracking,
        processes=Processes(config.devices, config.nodes),
    )
    shown = train_images.select(train_images.keys[:12])
    decoded = quantise(reconstruct(network, shown, device=resolve_device(config.device)), 8)
    save_reconstructions(reconstructions, shown, ImagePack(decoded, shown.keys))
    trained.write_history(history)
    save_autoencoder(weights, network, config.vae)


def encode_latents(*, images: str, pack: str, weights: str, latents: str, config: Any) -> None:
    """Encode every real image once, and keep what the diffusion model is told about it."""
    from deepssim.datasets.tables import Split, keys_of, read_images
    from deepssim.devices import resolve_device
    from deepssim.generative.autoencoder import encode, load_autoencoder
    from deepssim.generative.conditioning import read_conditions
    from deepssim.generative.latents import Latents, write_latents
    from deepssim.images.packs import read_pack

    table, content = read_images(images), read_pack(pack)
    told = table.set_index("key", drop=False).loc[content.keys]
    conditions = read_conditions(told, config.ldm, images)
    values = encode(load_autoencoder(weights), content, device=resolve_device(config.device))
    rows = [content.index[key] for key in keys_of(table, Split.TRAIN)]
    scale = float(1 / values[rows].std()) if config.ldm.scale_latents else 1.0
    write_latents(latents, Latents(values, content.keys, scale, conditions))


def train_ldm(
    *,
    images: str,
    pack: str,
    latents: str,
    autoencoder: str,
    weights: str,
    history: str,
    samples: str,
    train_used: str,
    initial: str | None = None,
    config: Any,
) -> None:
    """Train the diffusion model on the latents of the train split and show what it draws."""
    import pandas as pd

    from deepssim.config import SynthesisConfig
    from deepssim.datasets.tables import Split, keys_of, read_images, write_csv
    from deepssim.devices import resolve_device
    from deepssim.generative import sampling
    from deepssim.generative.autoencoder import load_autoencoder
    from deepssim.generative.diffusion import condition_features, draw_copies, save_unet, train_diffusion
    from deepssim.generative.interop import load_any_unet
    from deepssim.generative.latents import read_latents
    from deepssim.generative.monitoring import keys_to_draw, memorization_inspection
    from deepssim.images.packs import read_pack
    from deepssim.processes import Processes
    from deepssim.provenance import state_folder
    from deepssim.reporting.pictures import save_sheet

    table, content = read_images(images), read_latents(latents)
    train_keys = keys_of(table, Split.TRAIN)
    train_latents, decoder = content.select(train_keys), load_autoencoder(autoencoder)
    target = resolve_device(config.device)
    start = None
    if initial is not None:
        features = condition_features(train_latents, config.ldm)
        start = load_any_unet(initial, config.ldm, train_latents.shape[0], features)[0].state_dict()
    network, trained = train_diffusion(
        train_latents,
        content.select(keys_of(table, Split.VALID)),
        config.ldm,
        seed=config.seed,
        device=config.device,
        state=state_folder(
            weights,
            [as_settings(config.ldm), config.seed, config.device, config.devices, config.nodes],
            [images, latents, *([initial] if initial else [])],
            recipe=LDM_RECIPE,
        ),
        initial=start,
        inspection=memorization_inspection(
            read_pack(pack).select(train_keys), train_latents, decoder, config.ldm, seed=config.seed, device=target
        ),
        tracking=config.tracking,
        processes=Processes(config.devices, config.nodes),
    )
    preview = sampling.generate(
        keys_to_draw(train_keys, 12),
        network,
        decoder,
        latents=train_latents,
        ldm=config.ldm,
        options=SynthesisConfig(batch_size=12),
        seed=config.seed,
        device=target,
        bit_depth=8,
    )
    save_sheet(samples, preview)
    trained.write_history(history)
    write_csv(train_used, pd.DataFrame({"key": train_keys, "copies": draw_copies(train_keys, config.ldm, config.seed)}))
    save_unet(weights, network, config.ldm, content.scale)


def generate(
    *, train_used: str, latents: str, autoencoder: str, unet: str, pack: str, config: Any, shard: int = 0
) -> None:
    """Generate one shard of the synthetic images.

    Raises:
        ConfigError: if there are more shards than images.
    """
    from deepssim.datasets.tables import read_train_used
    from deepssim.devices import resolve_device
    from deepssim.generative import sampling
    from deepssim.generative.autoencoder import load_autoencoder
    from deepssim.generative.diffusion import load_unet
    from deepssim.generative.latents import read_latents
    from deepssim.images.keys import split_key, synthetic_key
    from deepssim.images.packs import write_pack

    records = [split_key(key)[0] for key in read_train_used(train_used)]
    count = config.synthesis.images_per_record
    wanted = [synthetic_key(record, number) for record in records for number in range(count)]
    keys = shard_of(wanted, shard, config.shards)
    if not keys:
        raise ConfigError(f"shards is {config.shards}, but only {len(wanted)} images are generated; lower it")
    network, options = load_unet(unet)
    images = sampling.generate(
        keys,
        network,
        load_autoencoder(autoencoder),
        latents=read_latents(latents),
        ldm=options,
        options=config.synthesis,
        seed=config.seed,
        device=resolve_device(config.device),
        bit_depth=config.dataset.bit_depth,
    )
    write_pack(pack, images)


def export_images(*, real: str, synthetic: Sequence[str], tree: str) -> None:
    """Write the image tree of the reference code: each record's real image beside those generated from it."""
    from deepssim.images.packs import read_pack
    from deepssim.images.tree import write_tree

    generated = join_packs(synthetic)
    write_tree(tree, read_pack(real), generated)
