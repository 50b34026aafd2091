"""The stage that trains the DeepSSIM encoder."""

from collections.abc import Sequence

import pandas as pd
import torch

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, Orientation, Recipe
from deepssim.config.encoders import EncoderConfig
from deepssim.config.training import TrackingConfig
from deepssim.datasets.tables import Split, keys_of, read_images
from deepssim.encoders import recipes
from deepssim.encoders.deepssim import save_encoder
from deepssim.encoders.families import Families, copies_in_pairs
from deepssim.generative.autoencoder import load_autoencoder, reconstruct_pack, require_orientation
from deepssim.ground_truth.tables import read_pairs
from deepssim.images.packs import ImagePack, join_packs, read_pack
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.processes import Processes
from deepssim.runtime.provenance import state_folder

LATENT_NOISE = (0.0, 0.1, 0.2, 0.3, 0.45)  # of the autoencoder's round trips, see `autoencoder.reconstruct`


def train_deepssim(
    *,
    images: str,
    train: str,
    valid: str,
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

    Args:
        images: image table.
        train, valid: pair tables.
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
    pairs, packs = read_pairs(train), (read_pack(real), join_packs(synthetic))
    data: Families | recipes.PairImages
    if encoder.recipe is Recipe.ALL_PAIRS:
        # The generator never saw the valid split, so its patients are in no pair, least of all in a test pair.
        unpaired = keys_of(read_images(images), Split.VALID)
        data = _families(pairs, *packs, unpaired, autoencoder, seed, resolve_device(device))
    else:
        data = recipes.PairImages(pairs, *packs)
    network, trained = recipes.train_deepssim(
        data,
        recipes.PairImages(read_pairs(valid), *packs),
        encoder,
        seed=seed,
        device=device,
        state=state_folder(
            "train_deepssim",
            weights,
            [as_settings(encoder), seed, device, devices, nodes],
            [images, train, valid, real, *synthetic, autoencoder],
        ),
        tracking=tracking,
        processes=Processes(devices, nodes),
    )
    trained.write_history(history)
    save_encoder(weights, network)


def _families(
    pairs: pd.DataFrame,
    real: ImagePack,
    synthetic: ImagePack,
    unpaired: Sequence[str],
    autoencoder: str,
    seed: int,
    device: torch.device,
) -> Families:
    """Put real images together with their copies among the synthetic images and their reconstructions."""
    anchors = real.select(list(dict.fromkeys([*pairs["real_key"], *unpaired])))
    copies = [copies_in_pairs(pairs, synthetic)]
    network = load_autoencoder(autoencoder)
    for noise in LATENT_NOISE:
        copies.append((reconstruct_pack(network, anchors, device=device, noise=noise, seed=seed), anchors.keys))
    return Families(anchors, copies, threads=torch.get_num_threads())
