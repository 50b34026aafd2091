"""One function per rule: open files, call the library, write files. Workflow scripts and the command line share them.

Every function takes file paths by the names that the rule gives them, and `config`, of which it reads no more than the
rule declares. What a stage needs is imported inside it: networks take ten seconds to import, and neither `deepssim --help`
nor a stage that only compares numbers should wait for them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepssim.config import Layout, MetricName, Recipe, as_settings

if TYPE_CHECKING:
    from deepssim.images.packs import ImagePack
    from deepssim.similarity.tiles import Comparison

logger = logging.getLogger(__name__)

# Raise when a change of the library alters what a training makes, so that no older training state is continued.
VAE_RECIPE = 1
LDM_RECIPE = 1
ENCODER_RECIPE = 2


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
    from deepssim.generative.autoencoder import reconstruct, save_autoencoder, train_autoencoder
    from deepssim.images.packs import ImagePack, read_pack
    from deepssim.images.standardize import quantise
    from deepssim.provenance import state_folder
    from deepssim.reporting.pictures import save_pairs

    table, content = read_images(images), read_pack(pack)
    train_images = content.select(keys_of(table, Split.TRAIN))
    network, trained = train_autoencoder(
        train_images,
        content.select(keys_of(table, Split.VALID)),
        config.vae,
        seed=config.seed,
        device=config.device,
        state=state_folder(
            weights, [as_settings(config.vae), config.seed, config.device], [images, pack], recipe=VAE_RECIPE
        ),
    )
    shown = train_images.select(train_images.keys[:12])
    decoded = quantise(reconstruct(network, shown, device=resolve_device(config.device)), 8)
    save_pairs(reconstructions, shown, ImagePack(decoded, shown.keys), names=("image", "reconstruction"))
    trained.write_history(history)
    save_autoencoder(weights, network, config.vae)


def encode_latents(*, images: str, pack: str, weights: str, latents: str, config: Any) -> None:
    """Encode every real image once."""
    from deepssim.datasets.tables import Split, keys_of, read_images
    from deepssim.devices import resolve_device
    from deepssim.generative.autoencoder import encode, load_autoencoder
    from deepssim.generative.latents import Latents, write_latents
    from deepssim.images.packs import read_pack

    content = read_pack(pack)
    values = encode(load_autoencoder(weights), content, device=resolve_device(config.device))
    rows = [content.index[key] for key in keys_of(read_images(images), Split.TRAIN)]
    write_latents(latents, Latents(values, content.keys, scale=float(1 / values[rows].std())))


def train_ldm(
    *,
    images: str,
    latents: str,
    autoencoder: str,
    weights: str,
    history: str,
    samples: str,
    train_used: str,
    config: Any,
) -> None:
    """Train the diffusion model on the latents of the train split and show what it draws."""
    import pandas as pd

    from deepssim.config import SynthesisConfig
    from deepssim.datasets.tables import Split, keys_of, read_images, write_csv
    from deepssim.devices import resolve_device
    from deepssim.generative.autoencoder import load_autoencoder
    from deepssim.generative.diffusion import save_unet, train_diffusion
    from deepssim.generative.latents import read_latents
    from deepssim.generative.sampling import generate
    from deepssim.provenance import state_folder
    from deepssim.reporting.pictures import save_sheet

    table, content = read_images(images), read_latents(latents)
    train_keys = keys_of(table, Split.TRAIN)
    network, trained = train_diffusion(
        content.select(train_keys),
        content.select(keys_of(table, Split.VALID)),
        config.ldm,
        seed=config.seed,
        device=config.device,
        state=state_folder(
            weights, [as_settings(config.ldm), config.seed, config.device], [images, latents], recipe=LDM_RECIPE
        ),
    )
    preview = generate(
        [f"preview-{number}" for number in range(12)],
        network,
        load_autoencoder(autoencoder),
        latent_shape=content.shape,
        scale=content.scale,
        ldm=config.ldm,
        options=SynthesisConfig(batch_size=12),
        seed=config.seed,
        device=resolve_device(config.device),
        bit_depth=8,
    )
    save_sheet(samples, preview)
    trained.write_history(history)
    write_csv(train_used, pd.DataFrame({"key": train_keys, "copies": 1}))
    save_unet(weights, network, config.ldm)


def generate(
    *, train_used: str, latents: str, autoencoder: str, unet: str, pack: str, config: Any, shard: int = 0
) -> None:
    """Generate the synthetic images of one shard of the training records."""
    from deepssim.datasets.tables import read_train_used
    from deepssim.devices import resolve_device
    from deepssim.generative import sampling
    from deepssim.generative.autoencoder import load_autoencoder
    from deepssim.generative.diffusion import load_unet
    from deepssim.generative.latents import read_latents
    from deepssim.images.keys import split_key, synthetic_key
    from deepssim.images.packs import write_pack

    records = [split_key(key)[0] for key in read_train_used(train_used)]
    keys = [
        synthetic_key(record, number)
        for record in shard_of(records, shard, config.shards)
        for number in range(config.synthesis.images_per_record)
    ]
    content = read_latents(latents)
    network, options = load_unet(unet)
    images = sampling.generate(
        keys,
        network,
        load_autoencoder(autoencoder),
        latent_shape=content.shape,
        scale=content.scale,
        ldm=options,
        options=config.synthesis,
        seed=config.seed,
        device=resolve_device(config.device),
        bit_depth=config.dataset.bit_depth,
    )
    write_pack(pack, images)


def shard_of(items: Sequence[str], shard: int, shards: int) -> list[str]:
    """Return the part of a list that belongs to one of `shards` consecutive parts of nearly equal length."""
    start, stop = (len(items) * edge // shards for edge in (shard, shard + 1))
    return list(items[start:stop])


def export_images(*, real: str, synthetic: Sequence[str], tree: str) -> None:
    """Write the image tree of the reference code: each record's real image beside those generated from it."""
    from deepssim.images.packs import read_pack
    from deepssim.images.tree import write_tree

    generated = join_packs(synthetic)
    write_tree(tree, read_pack(real), generated)


def join_packs(paths: Sequence[str]) -> ImagePack:
    """Read image packs as one."""
    import numpy as np

    from deepssim.images.packs import ImagePack, read_pack

    packs = [read_pack(path) for path in paths]
    return ImagePack(np.concatenate([pack.images for pack in packs]), [key for pack in packs for key in pack.keys])


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
    from deepssim.similarity.metrics import METRICS

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
    from deepssim.similarity.metrics import METRICS

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
    from deepssim.devices import resolve_device
    from deepssim.encoders.deepssim import PairImages, save_encoder
    from deepssim.encoders.deepssim import train_deepssim as fit
    from deepssim.generative.autoencoder import load_autoencoder, reconstruct
    from deepssim.images.packs import ImagePack, read_pack
    from deepssim.images.standardize import quantise
    from deepssim.provenance import state_folder

    packs = read_pack(real), join_packs(synthetic)
    # The generator never saw the valid split, so its patients are in no pair, least of all in a test pair. Their partners
    # are themselves and what the generator's autoencoder makes of them, which is how its images look at best.
    lone = [packs[0].select(keys_of(read_images(images), Split.VALID))]
    if lone[0].keys and config.encoder.recipe is Recipe.ALL_PAIRS:
        decoded = reconstruct(load_autoencoder(autoencoder), lone[0], device=resolve_device(config.device))
        lone.append(ImagePack(quantise(decoded, config.dataset.bit_depth), lone[0].keys))
    network, trained = fit(
        PairImages(read_pairs(train), *packs, lone=lone),
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


def embed(*, weights: str, pack: str, embeddings: str, metric: MetricName, config: Any) -> None:
    """Embed all images of a pack with the encoder of a metric."""
    from deepssim.encoders.embeddings import write_embeddings
    from deepssim.errors import ConfigError
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


def evaluate(
    *,
    matrix: str,
    test: str,
    train_used: str,
    figures: str,
    metric: MetricName,
    misaligned: bool = False,
    config_hash: str,
) -> None:
    """Judge one metric on the labelled test pairs."""
    from deepssim.datasets.tables import read_test_set, read_train_used
    from deepssim.evaluation import classification
    from deepssim.provenance import versions
    from deepssim.similarity.matrices import read_scores
    from deepssim.similarity.metrics import METRICS

    keys = read_train_used(train_used)
    result = classification.evaluate(read_scores(matrix), read_test_set(test), keys, METRICS[metric].thresholds)
    result |= {"misaligned": misaligned, "provenance": {"config_sha256": config_hash, "versions": versions()}}
    Path(figures).write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def summarize(*, figures: Sequence[str], summary: str) -> None:
    """Collect the main figures of all metrics in one table."""
    from deepssim.datasets.tables import write_csv
    from deepssim.evaluation.summary import read_figures, summary_table

    write_csv(summary, summary_table([read_figures(path) for path in figures]))


def plot_metric(*, aligned: str, misaligned: str, test: str, png: str, svg: str, metric: MetricName) -> None:
    """Draw the histogram of a metric's scores by true class, aligned and misaligned."""
    from deepssim.datasets.tables import read_test_set
    from deepssim.reporting.plots import plot_histograms
    from deepssim.similarity.matrices import read_scores
    from deepssim.similarity.metrics import METRICS

    table = read_test_set(test)
    pairs = table["real_key"].tolist(), table["synth_key"].tolist()
    scores = {
        "aligned": read_scores(aligned).pair_scores(*pairs),
        "misaligned": read_scores(misaligned).pair_scores(*pairs),
    }
    plot_histograms((png, svg), scores, table["label"].to_numpy(), METRICS[metric])


def plot_summary(*, summary: str, svg: str) -> None:
    """Draw macro-F1 of all metrics, aligned and misaligned."""
    from deepssim.datasets.tables import read_csv
    from deepssim.evaluation.summary import SUMMARY_COLUMNS
    from deepssim.reporting.plots import plot_f1

    plot_f1(svg, read_csv(summary, needs=SUMMARY_COLUMNS))


def plot_copies(*, matrix: str, train_used: str, real: str, synthetic: Sequence[str], png: str) -> None:
    """Show synthetic images beside the training images that they resemble most."""
    from deepssim.datasets.tables import read_train_used
    from deepssim.images.packs import read_pack
    from deepssim.reporting.pictures import save_nearest
    from deepssim.similarity.matrices import read_scores

    keys = read_train_used(train_used)
    save_nearest(png, read_scores(matrix), keys, read_pack(real), join_packs(synthetic))


def report(
    *,
    images: str,
    figures: Sequence[str],
    histograms: Sequence[str],
    summary_plot: str,
    copies: str,
    reconstructions: str,
    samples: str,
    page: str,
) -> None:
    """Write the report, one HTML file that needs nothing else."""
    from deepssim.datasets.tables import read_images
    from deepssim.evaluation.summary import read_figures
    from deepssim.reporting.page import write_report

    write_report(
        page,
        images=read_images(images),
        figures=[read_figures(path) for path in figures],
        histograms=histograms,
        summary_plot=summary_plot,
        copies=copies,
        pictures={"Autoencoder": reconstructions, "Samples of the diffusion model": samples},
    )
