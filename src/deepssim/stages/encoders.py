"""The stage that trains the DeepSSIM encoder."""

import logging
from collections.abc import Sequence

import pandas as pd
import torch

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, Orientation, Recipe
from deepssim.config.encoders import EncoderConfig
from deepssim.config.training import TrackingConfig
from deepssim.datasets.tables import Split, keys_of, read_csv, read_images
from deepssim.encoders import recipes
from deepssim.encoders.deepssim import save_encoder
from deepssim.encoders.families import Families, copies_in_pairs, example_pairs
from deepssim.encoders.volume_slices import pairs_of_slices, slices_to_learn
from deepssim.generative.autoencoder import load_autoencoder, reconstruct_pack, require_orientation
from deepssim.ground_truth.tables import read_pairs
from deepssim.images.packs import ImagePack, open_packs, read_pack
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.processes import Processes
from deepssim.runtime.provenance import state_folder

logger = logging.getLogger(__name__)

LATENT_NOISE = (0.0, 0.1, 0.2, 0.3, 0.45)  # of the autoencoder's round trips, see `autoencoder.reconstruct`


def train_deepssim(
    *,
    images: str,
    train: str,
    valid: str,
    split: str,
    real: str,
    synthetic: Sequence[str],
    autoencoder: str,
    weights: str,
    history: str,
    encoder: EncoderConfig,
    orientation: Orientation,
    seed: int,
    device: Device,
    devices: int = 1,
    nodes: int = 1,
    tracking: TrackingConfig | None = None,
) -> None:
    """Train the encoder so that cosine similarity predicts SSIM.

    Reconstructions and variations of real images cover the range of SSIM where pairs are missing. Of volumes, slices are learned.

    Args:
        images: image table.
        train, valid: pair tables.
        split: CSV with the set of pairs that each training image belongs to.
        real, synthetic: image packs.
        autoencoder: of the generator, whose reconstructions are further images to learn from.
        weights: encoder to write.
        history: CSV to write, one row per validated epoch.
        orientation: of the images of the packs.
        encoder, seed, device, devices, nodes, tracking: settings.

    Raises:
        DataError: if the autoencoder was trained on images of the other orientation.
    """
    require_orientation(autoencoder, orientation)
    pairs, packs = read_pairs(train), (read_pack(real), _in_pairs(synthetic, [train, valid]))
    # The generator never saw the valid split, so its patients are in no pair, least of all in a test pair.
    unpaired = keys_of(read_images(images), Split.VALID)
    anchors = list(dict.fromkeys([*pairs["real_key"], *unpaired]))
    if len(anchors) < 2 or (pairs.empty and encoder.recipe is not Recipe.ALL_PAIRS):
        anchors = list(dict.fromkeys([*anchors, *_members(split, Split.TRAIN)]))
    data: Families | recipes.PairImages
    if encoder.recipe is Recipe.ALL_PAIRS:
        data = _families(pairs, packs[0].select(anchors), packs[1], autoencoder, seed, resolve_device(device))
    else:
        data = _pair_images(pairs, packs, anchors, seed)
    settings = [as_settings(encoder), seed, device, devices, nodes]
    state = state_folder(
        "train_deepssim", weights, settings, [images, train, valid, split, real, *synthetic, autoencoder]
    )
    network, trained = recipes.train_deepssim(
        data,
        _pair_images(read_pairs(valid), packs, _members(split, Split.VALID) or unpaired or anchors, seed),
        encoder, seed=seed, device=device, state=state, tracking=tracking, processes=Processes(devices, nodes),
    )  # fmt: skip
    trained.write_history(history)
    save_encoder(weights, network)


def _in_pairs(synthetic: Sequence[str], tables: Sequence[str]) -> ImagePack:
    """Return the synthetic images of the pairs in some tables, all that is learned from, however many there are."""
    keys = dict.fromkeys(key for table in tables for key in read_pairs(table)["synth_key"])
    with open_packs(synthetic) as generated:
        return generated.select(list(keys))


def _members(split: str, name: Split) -> list[str]:
    """Return the training images that belong to one set of pairs."""
    table = read_csv(split, needs=("key", "split"))
    return table.loc[table["split"] == name.value, "key"].tolist()


def _pair_images(
    pairs: pd.DataFrame, packs: tuple[ImagePack, ImagePack], anchors: Sequence[str], seed: int
) -> recipes.PairImages:
    """Return the images of pairs or, without any, variations of some real images beside these."""
    if len(pairs):
        pairs = pairs_of_slices(pairs, *packs, threads=torch.get_num_threads())
        return recipes.PairImages(pairs, *map(slices_to_learn, packs))
    real = slices_to_learn(packs[0].select(anchors))
    logger.warning("there are no pairs of synthetic images; variations of %d real images replace them", len(anchors))
    table, varied = example_pairs(real, seed=seed, threads=torch.get_num_threads())
    return recipes.PairImages(table, real, varied)


def _families(
    pairs: pd.DataFrame, anchors: ImagePack, synthetic: ImagePack, autoencoder: str, seed: int, device: torch.device
) -> Families:
    """Put real images together with their copies among the synthetic images and their reconstructions."""
    threads = torch.get_num_threads()
    learned = slices_to_learn(anchors)
    copies = [copies_in_pairs(pairs_of_slices(pairs, anchors, synthetic, threads=threads), slices_to_learn(synthetic))]
    network = load_autoencoder(autoencoder)
    for noise in LATENT_NOISE:
        decoded = slices_to_learn(reconstruct_pack(network, anchors, device=device, noise=noise, seed=seed))
        kept = [key for key in decoded.keys if key in learned.index]  # all, but for constant slices of volumes
        copies.append((decoded.select(kept), kept))
    return Families(learned, copies, threads=threads)
