"""Stages that score real against synthetic images.

Not here: training encoders and embedding images (encoders.py), what is concluded from scores (evaluation.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deepssim.choices import Layout, MetricName
from deepssim.errors import ConfigError

if TYPE_CHECKING:
    from deepssim.similarity.tiles import Comparison

logger = logging.getLogger(__name__)


def score_images(
    *,
    real: str,
    synthetic: str,
    matrix: str,
    metric: MetricName,
    config: Any,
    train_used: str | None = None,
    pairs: str | Sequence[str] | None = None,
    shard: int = 0,
    threads: int = 1,
) -> None:
    """Score every real image against one shard of synthetic ones by a metric that reads pixels."""
    from deepssim.images.packs import open_pack
    from deepssim.similarity.metrics import METRICS, Compares

    if METRICS[metric].compares is not Compares.PIXELS:
        raise ConfigError(f"{metric.value} compares embeddings; embed the images and use `deepssim score-embeddings`")
    with open_pack(real) as rows, open_pack(synthetic) as columns:
        comparison = METRICS[metric].compare(rows, columns, threads, config.device, config.similarity)
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
    pairs: str | Sequence[str] | None = None,
    shard: int = 0,
    threads: int = 1,
) -> None:
    """Score every real embedding against one shard of synthetic ones."""
    from deepssim.encoders.embeddings import read_embeddings
    from deepssim.similarity.metrics import METRICS, Compares

    if METRICS[metric].compares is not Compares.EMBEDDINGS:
        raise ConfigError(f"{metric.value} reads pixels and has no embeddings; use `deepssim score-images`")
    rows, columns = read_embeddings(real), read_embeddings(synthetic)
    comparison = METRICS[metric].compare(rows, columns, threads, config.device, config.similarity)
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
    pairs: str | Sequence[str] | None,
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
    paths = [pairs] if isinstance(pairs, str) else pairs or []
    labelled = [read_csv(path, needs=("real_key", "synth_key")) for path in paths]
    matrices.write_top(
        matrix,
        comparison,
        real_keys,
        synth_keys,
        metric.value,
        train_keys=train_keys,
        labelled=tuple([key for table in labelled for key in table[side]] for side in ("real_key", "synth_key")),  # type: ignore[arg-type]
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
    comparison = METRICS[metric].compare(rows, columns, threads, config.device, config.similarity)
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
