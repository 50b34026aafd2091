"""Stages that train encoders and embed images.

Not here: what embeddings are compared for (comparison.py), what is concluded from scores (evaluation.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deepssim.choices import MetricName, Recipe
from deepssim.errors import ConfigError
from deepssim.settings import as_settings
from deepssim.stages.shards import join_packs

if TYPE_CHECKING:
    import pandas as pd

    from deepssim.encoders.families import Families
    from deepssim.encoders.recipes import PairImages
    from deepssim.images.packs import ImagePack

ENCODER_RECIPE = 5  # as in generation.py
LATENT_NOISE = (0.0, 0.1, 0.2, 0.3, 0.45)  # of the autoencoder's round trips, see `autoencoder.reconstruct`
DAR_RECIPE = 1


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
    config: Any,
) -> None:
    """Fit the encoder so that cosine similarity predicts SSIM."""
    from deepssim.datasets.tables import Split, keys_of, read_images, read_pairs
    from deepssim.encoders.deepssim import save_encoder
    from deepssim.encoders.recipes import PairImages
    from deepssim.encoders.recipes import train_deepssim as fit
    from deepssim.images.packs import read_pack
    from deepssim.processes import Processes
    from deepssim.provenance import state_folder

    pairs, packs = read_pairs(train), (read_pack(real), join_packs(synthetic))
    data: Families | PairImages
    if config.encoder.recipe is Recipe.ALL_PAIRS:
        # The generator never saw the valid split, so its patients are in no pair, least of all in a test pair.
        data = _families(pairs, *packs, keys_of(read_images(images), Split.VALID), autoencoder, config)
    else:
        data = PairImages(pairs, *packs)
    network, trained = fit(
        data,
        PairImages(read_pairs(valid), *packs),
        config.encoder,
        seed=config.seed,
        device=config.device,
        state=state_folder(
            weights,
            [as_settings(config.encoder), config.seed, config.device, config.devices, config.nodes],
            [images, train, valid, real, *synthetic, autoencoder],
            recipe=ENCODER_RECIPE,
        ),
        processes=Processes(config.devices, config.nodes),
    )
    trained.write_history(history)
    save_encoder(weights, network)


def _families(
    pairs: pd.DataFrame, real: ImagePack, synthetic: ImagePack, lone: list[str], autoencoder: str, config: Any
) -> Families:
    """Put real images together with what the generator made of them and what its autoencoder makes of them."""
    import torch

    from deepssim.devices import resolve_device
    from deepssim.encoders.families import Families, copies_in_pairs
    from deepssim.generative.autoencoder import load_autoencoder, reconstruct
    from deepssim.images.packs import ImagePack
    from deepssim.images.standardize import quantise

    anchors = real.select(list(dict.fromkeys([*pairs["real_key"], *lone])))
    copies = [copies_in_pairs(pairs, synthetic)]
    network, device = load_autoencoder(autoencoder), resolve_device(config.device)
    for noise in LATENT_NOISE:
        decoded = reconstruct(network, anchors, device=device, noise=noise, seed=config.seed)
        copies.append((ImagePack(quantise(decoded, real.bit_depth), anchors.keys), anchors.keys))
    return Families(anchors, copies, threads=torch.get_num_threads())


def train_dar(*, images: str, real: str, weights: str, history: str, config: Any) -> None:
    """Fit Dar's encoder to the real images, without labels."""
    from deepssim.datasets.tables import Split, keys_of, read_images
    from deepssim.encoders import dar
    from deepssim.images.packs import read_pack
    from deepssim.provenance import state_folder

    table, pack = read_images(images), read_pack(real)
    # The generator never saw the valid split, and without it a handful of memorized images would be all there is.
    network, trained = dar.train_dar(
        pack.select(keys_of(table, Split.TRAIN, Split.VALID)),
        None,
        config.dar,
        seed=config.seed,
        device=config.device,
        state=state_folder(
            weights, [as_settings(config.dar), config.seed, config.device], [images, real], recipe=DAR_RECIPE
        ),
    )
    trained.write_history(history)
    dar.save_encoder(weights, network)


def embed(
    *, pack: str, embeddings: str, metric: MetricName, config: Any, weights: str | Sequence[str] | None = None
) -> None:
    """Embed all images of a pack with the encoder of a metric: that of section `published`, or the file `weights`."""
    from deepssim.encoders.embeddings import write_embeddings
    from deepssim.images.packs import open_pack
    from deepssim.similarity.metrics import METRICS, require_weights

    encode = METRICS[metric].embed
    if encode is None:
        raise ConfigError(f"{metric.value} reads pixels and has no embeddings; use `deepssim score-images`")
    options = config.evaluation
    encoder = str(getattr(config.published, metric.value) or weights)
    require_weights(metric, encoder)
    with open_pack(pack) as images:
        found = encode(
            encoder,
            images,
            config.device,
            options.embedding_batch_size,
            options.embedding_precision,
            config.published.trust,
        )
        write_embeddings(embeddings, found)
