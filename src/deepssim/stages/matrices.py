"""The stages that score real against synthetic images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from deepssim.config.choices import Device, Layout, MetricName
from deepssim.config.evaluation import SimilarityConfig
from deepssim.datasets.tables import read_csv, read_train_used, write_csv
from deepssim.errors import ConfigError
from deepssim.images.packs import open_pack, read_pack
from deepssim.metrics import METRICS, InputKind, require_comparable
from deepssim.similarity import matrices
from deepssim.similarity.embeddings import read_embeddings
from deepssim.similarity.gathering import gather
from deepssim.similarity.scores import look_up
from deepssim.similarity.tiles import Comparison, pair_scores

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Target:
    """Where scores go and how many of them are kept; see `score_images`."""

    matrix: str
    metric: MetricName
    similarity: SimilarityConfig
    seed: int
    images_per_record: int
    train_used: str | None
    pairs: str | Sequence[str] | None
    shard: int
    shards: int
    threads: int


def score_images(
    *,
    real: str,
    synthetic: str,
    matrix: str,
    metric: MetricName,
    device: Device,
    similarity: SimilarityConfig,
    seed: int,
    images_per_record: int,
    train_used: str | None = None,
    pairs: str | Sequence[str] | None = None,
    shard: int = 0,
    shards: int = 1,
    exact: bool = False,
    threads: int = 1,
) -> None:
    """Score every real image against one shard of synthetic ones by a metric that compares pixels.

    Args:
        real, synthetic: image packs.
        matrix: score matrix to write, all scores or, beyond `similarity.dense_limit`, top-k lists.
        metric: which score.
        device, similarity, seed, images_per_record: settings.
        train_used: CSV with the keys of the generator's training images; all real images unless given.
        pairs: pair tables whose scores are kept in any case.
        shard, shards: which of how many parts of the synthetic images this is.
        exact: compute all pairs, as `similarity.exact`.
        threads: processor threads.

    Raises:
        ConfigError: if the metric compares embeddings.
    """
    similarity = similarity.model_copy(update={"exact": exact or similarity.exact})
    if METRICS[metric].input_kind is not InputKind.PIXELS:
        raise ConfigError(f"{metric.value} compares embeddings; embed the images and use `deepssim score-embeddings`")
    target = _Target(
        matrix=matrix, metric=metric, similarity=similarity, seed=seed, images_per_record=images_per_record,
        train_used=train_used, pairs=pairs, shard=shard, shards=shards, threads=threads,
    )  # fmt: skip
    with open_pack(real) as rows, open_pack(synthetic) as columns:
        require_comparable(metric, max(rows.spatial_dims, columns.spatial_dims))
        comparison = METRICS[metric].compare(rows, columns, threads, device, similarity)
        _write_scores(target, comparison, rows.keys, columns.keys)


def score_embeddings(
    *,
    real: str,
    synthetic: str,
    matrix: str,
    metric: MetricName,
    device: Device,
    similarity: SimilarityConfig,
    seed: int,
    images_per_record: int,
    train_used: str | None = None,
    pairs: str | Sequence[str] | None = None,
    shard: int = 0,
    shards: int = 1,
    threads: int = 1,
) -> None:
    """Score every real embedding against one shard of synthetic ones.

    Args:
        real, synthetic: embeddings.
        matrix: score matrix to write.
        metric: which score.
        device, similarity, seed, images_per_record, train_used, pairs, shard, shards, threads: see `score_images`.

    Raises:
        ConfigError: if the metric compares pixels.
    """
    if METRICS[metric].input_kind is not InputKind.EMBEDDINGS:
        raise ConfigError(f"{metric.value} compares pixels and has no embeddings; use `deepssim score-images`")
    target = _Target(
        matrix=matrix, metric=metric, similarity=similarity, seed=seed, images_per_record=images_per_record,
        train_used=train_used, pairs=pairs, shard=shard, shards=shards, threads=threads,
    )  # fmt: skip
    rows, columns = read_embeddings(real), read_embeddings(synthetic)
    comparison = METRICS[metric].compare(rows, columns, threads, device, similarity)
    _write_scores(target, comparison, rows.keys, columns.keys)


def _write_scores(target: _Target, comparison: Comparison, real_keys: list[str], synth_keys: list[str]) -> None:
    """Write the whole matrix, or top-k lists where all shards together would exceed the limit."""
    train_keys = read_train_used(target.train_used) if target.train_used else real_keys
    # The same answer for every shard, from the size of all shards together.
    images = len(train_keys) * target.images_per_record if target.train_used else len(synth_keys)
    options, part = target.similarity, matrices.Shard(target.shard, target.shards)
    if matrices.choose_layout(len(real_keys), images, options) is Layout.DENSE:
        matrices.write_dense(
            target.matrix, comparison, real_keys, synth_keys, target.metric.value,
            max_memory_gb=options.max_memory_gb, shard=part,
        )  # fmt: skip
        return
    logger.info("keeping the best %d scores of each image instead of all scores", options.top_k)
    paths = [target.pairs] if isinstance(target.pairs, str) else target.pairs or []
    tables = [read_csv(path, needs=("real_key", "synth_key")) for path in paths]
    labelled = tuple([key for table in tables for key in table[side]] for side in ("real_key", "synth_key"))
    matrices.write_top(
        target.matrix, comparison, real_keys, synth_keys, target.metric.value, train_keys=train_keys,
        labelled=labelled, options=options, seed=target.seed, threads=target.threads, shard=part,  # type: ignore[arg-type]
    )  # fmt: skip


def gather_matrix(*, shards: Sequence[str], matrix: str, metric: MetricName) -> None:
    """Put the column shards of a metric's scores side by side.

    Args:
        shards: score matrices of the parts, in any order.
        matrix: score matrix to write.
        metric: that all of them must hold.
    """
    gather(matrix, shards, metric.value)


def score_pairs(
    *,
    pairs: str,
    real: str,
    synthetic: str,
    scores: str,
    metric: MetricName,
    similarity: SimilarityConfig,
    device: Device = Device.CPU,
    threads: int = 1,
) -> None:
    """Score the pairs of a table, without the matrix.

    Args:
        pairs: CSV with `real_key` and `synth_key`.
        real, synthetic: image packs, or embeddings for a metric that compares these.
        scores: CSV to write, the table with a column `score`.
        metric: which score.
        similarity, device: settings; the CPU unless given, which is enough for a list.
        threads: processor threads.
    """
    table = read_csv(pairs, needs=("real_key", "synth_key"))
    pixels = METRICS[metric].input_kind is InputKind.PIXELS
    rows, columns = ((read_pack if pixels else read_embeddings)(path) for path in (real, synthetic))
    places = (
        look_up(table[f"{side}_key"].tolist(), {key: place for place, key in enumerate(items.keys)}, name)
        for side, name, items in (("real", "real", rows), ("synth", "synthetic", columns))
    )
    comparison = METRICS[metric].compare(rows, columns, threads, device, similarity)
    table["score"] = pair_scores(comparison, *places, max_memory_gb=similarity.max_memory_gb)
    write_csv(scores, table)
