"""Stages that score real against synthetic images, and train the encoder that some scores need.

Not here: what is concluded from scores (evaluation.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deepssim.choices import Layout, MetricName, Recipe
from deepssim.errors import ConfigError
from deepssim.settings import as_settings
from deepssim.stages.shards import join_packs

if TYPE_CHECKING:
    import pandas as pd

    from deepssim.encoders.families import Families
    from deepssim.encoders.recipes import PairImages
    from deepssim.images.packs import ImagePack
    from deepssim.similarity.tiles import Comparison

logger = logging.getLogger(__name__)

ENCODER_RECIPE = 3  # as in generation.py
LEAST_LIKE = 0.5  # SSIM above which a synthetic image counts as an imperfect copy
LATENT_NOISE = (0.0, 0.1, 0.2, 0.3, 0.45)  # of the autoencoder's round trips, see `autoencoder.reconstruct`


def score_images(
    *,
    real: str,
    synthetic: str,
    matrix: str,
    metric: MetricName,
    config: Any,
    train_used: str | None = None,
    pairs: str | None = None,
    shard: int = 0,
    threads: int = 1,
) -> None:
    """Score every real image against one shard of synthetic ones by a metric that reads pixels."""
    from deepssim.images.packs import open_pack
    from deepssim.similarity.metrics import METRICS, Compares

    if METRICS[metric].compares is not Compares.PIXELS:
        raise ConfigError(f"{metric.value} compares embeddings; embed the images and use `deepssim score-embeddings`")
    with open_pack(real) as rows, open_pack(synthetic) as columns:
        comparison = METRICS[metric].compare(rows, columns, threads, config.device)
        _write_scores(
            matrix, comparison, rows.keys, columns.keys, metric, train_used, pairs, config, shard=shard, threads=threads
        )


def score_embeddings(
    *,
    real: str,
    synthetic: str,
    matrix: str,
    metric: MetricName,
    config: Any,
    train_used: str | None = None,
    pairs: str | None = None,
    shard: int = 0,
    threads: int = 1,
) -> None:
    """Score every real embedding against one shard of synthetic ones."""
    from deepssim.encoders.embeddings import read_embeddings
    from deepssim.similarity.metrics import METRICS, Compares

    if METRICS[metric].compares is not Compares.EMBEDDINGS:
        raise ConfigError(f"{metric.value} reads pixels and has no embeddings; use `deepssim score-images`")
    rows, columns = read_embeddings(real), read_embeddings(synthetic)
    comparison = METRICS[metric].compare(rows, columns, threads, config.device)
    _write_scores(
        matrix, comparison, rows.keys, columns.keys, metric, train_used, pairs, config, shard=shard, threads=threads
    )


def _write_scores(
    matrix: str,
    comparison: Comparison,
    real_keys: list[str],
    synth_keys: list[str],
    metric: MetricName,
    train_used: str | None,
    pairs: str | None,
    config: Any,
    *,
    shard: int,
    threads: int,
) -> None:
    """Write the whole matrix, or top-k lists where all shards together would exceed the limit."""
    from deepssim.datasets.tables import read_csv, read_train_used
    from deepssim.similarity import matrices

    train_keys = read_train_used(train_used) if train_used else real_keys
    # The same answer for every shard, from the size of all shards together.
    images = len(train_keys) * config.synthesis.images_per_record if train_used else len(synth_keys)
    options = config.similarity
    layout = matrices.choose_layout(len(real_keys), images, options)
    part = matrices.Shard(shard, config.shards)
    if layout is Layout.DENSE:
        matrices.write_dense(
            matrix, comparison, real_keys, synth_keys, metric.value, max_memory_gb=options.max_memory_gb, shard=part
        )
        return
    logger.info("keeping the best %d of each image, not all scores", options.top_k)
    labelled = read_csv(pairs, needs=("real_key", "synth_key")) if pairs else None
    matrices.write_top(
        matrix,
        comparison,
        real_keys,
        synth_keys,
        metric.value,
        train_keys=train_keys,
        labelled=([], []) if labelled is None else (labelled["real_key"].tolist(), labelled["synth_key"].tolist()),
        options=options,
        seed=config.seed,
        threads=threads,
        shard=part,
    )


def gather_matrix(*, shards: Sequence[str], matrix: str, metric: MetricName) -> None:
    """Put the column shards of a metric's scores side by side."""
    from deepssim.similarity.matrices import gather

    gather(matrix, shards, metric.value)


def score_pairs(
    *,
    pairs: str,
    real: str,
    synthetic: str,
    scores: str,
    metric: MetricName,
    config: Any,
    threads: int = 1,
) -> None:
    """Score the pairs of a table, without the matrix."""
    from deepssim.datasets.tables import read_csv, write_csv
    from deepssim.encoders.embeddings import read_embeddings
    from deepssim.images.packs import read_pack
    from deepssim.similarity.metrics import METRICS, Compares
    from deepssim.similarity.scores import look_up
    from deepssim.similarity.tiles import pair_scores

    table = read_csv(pairs, needs=("real_key", "synth_key"))
    pixels = METRICS[metric].compares is Compares.PIXELS
    rows, columns = ((read_pack if pixels else read_embeddings)(path) for path in (real, synthetic))
    places = (
        look_up(table[f"{side}_key"].tolist(), {key: place for place, key in enumerate(items.keys)}, name)
        for side, name, items in (("real", "real", rows), ("synth", "synthetic", columns))
    )
    comparison = METRICS[metric].compare(rows, columns, threads, config.device)
    table["score"] = pair_scores(comparison, *places, max_memory_gb=config.similarity.max_memory_gb)
    write_csv(scores, table)


def sample_pairs(*, images: str, train_used: str, matrix: str, train: str, valid: str, test: str, config: Any) -> None:
    """Sample the pairs that train and test the encoder."""
    from deepssim.datasets import pairs
    from deepssim.datasets.tables import read_images, read_train_used, write_csv
    from deepssim.similarity.matrices import read_scores

    keys = read_train_used(train_used)
    subject_of = read_images(images).set_index("key")["subject"]
    sampled = pairs.sample_pairs(
        read_scores(matrix),
        keys,
        subject_of.loc[keys].tolist(),
        config.pairs,
        seed=config.seed,
    )
    for path, table in ((train, sampled.train), (valid, sampled.valid), (test, sampled.test)):
        write_csv(path, table)
    logger.info("%d train, %d valid and %d test pairs", len(sampled.train), len(sampled.valid), len(sampled.test))


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
            [as_settings(config.encoder), config.seed, config.device],
            [images, train, valid, real, *synthetic, autoencoder],
            recipe=ENCODER_RECIPE,
        ),
    )
    trained.write_history(history)
    save_encoder(weights, network)


def _families(
    pairs: pd.DataFrame, real: ImagePack, synthetic: ImagePack, lone: list[str], autoencoder: str, config: Any
) -> Families:
    """Put real images together with what the generator made of them and what its autoencoder makes of them."""
    import torch

    from deepssim.devices import resolve_device
    from deepssim.encoders.families import Families
    from deepssim.generative.autoencoder import load_autoencoder, reconstruct
    from deepssim.images.packs import ImagePack
    from deepssim.images.standardize import quantise

    anchors = real.select(list(dict.fromkeys([*pairs["real_key"], *lone])))
    near = pairs[pairs["ssim"] > LEAST_LIKE].sort_values("ssim", ascending=False, kind="stable")
    near = near.drop_duplicates("synth_key")  # with the real image that it resembles most
    copies = [(synthetic.select(near["synth_key"].tolist()), near["real_key"].tolist())] if len(near) else []
    network, device = load_autoencoder(autoencoder), resolve_device(config.device)
    for noise in LATENT_NOISE:
        decoded = reconstruct(network, anchors, device=device, noise=noise, seed=config.seed)
        copies.append((ImagePack(quantise(decoded, real.bit_depth), anchors.keys), anchors.keys))
    return Families(anchors, copies, threads=torch.get_num_threads())


def embed(*, weights: str, pack: str, embeddings: str, metric: MetricName, config: Any) -> None:
    """Embed all images of a pack with the encoder of a metric."""
    from deepssim.encoders.embeddings import write_embeddings
    from deepssim.images.packs import open_pack
    from deepssim.similarity.metrics import METRICS

    encode = METRICS[metric].embed
    if encode is None:
        raise ConfigError(f"{metric.value} reads pixels and has no embeddings; use `deepssim score-images`")
    options = config.evaluation
    with open_pack(pack) as images:
        write_embeddings(
            embeddings,
            encode(weights, images, config.device, options.embedding_batch_size, options.embedding_precision),
        )
