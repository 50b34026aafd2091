"""The table of metrics: what each one reads, how it scores and which thresholds it has.

Adding a metric takes a record here and the file that it points to. Functions import what they need when they run: a
stage that only compares embeddings must not wait for networks to be imported.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepssim.config.choices import VOLUME_METRICS, Device, MetricName
from deepssim.config.settings import Config
from deepssim.errors import ConfigError, joined
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Thresholds
from deepssim.runtime.hub import on_hub
from deepssim.similarity.tiles import Comparison

logger = logging.getLogger(__name__)


class InputKind(StrEnum):
    """What a metric compares."""

    PIXELS = "pixels"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score a pair of images; higher scores are more similar.

    Attributes:
        name: as in the config and in file names.
        title: as in plots.
        input_kind: image packs or embeddings.
        compare: `(real, synthetic, threads, device)`, both packs or both embeddings, and section `similarity` if the
            metric has settings there, to a `tiles.Comparison`.
        embed: `(weights, pack, device, batch size, precision)` and checksums to trust, to embeddings; None for pixels.
        trained_here: whether the workflow trains the encoder where no weights are given.
        advice: where to get published weights, for messages.
        thresholds: published ones; None where there are none.
        of_reference: whether the thresholds hold only for scores that the reference code computes, as `compute-matrix` does, since
            it uses the encoder in another way than the workflow.
        score_range: lowest and highest possible score.
    """

    name: MetricName
    title: str
    input_kind: InputKind
    compare: Callable[..., Comparison]
    embed: Callable | None = None
    trained_here: bool = False
    advice: str = ""
    thresholds: Thresholds | None
    of_reference: bool = False
    score_range: tuple[float, float]

    @property
    def needs_published_weights(self) -> bool:
        """Whether the metric has an encoder that is not trained here."""
        return self.input_kind is InputKind.EMBEDDINGS and not self.trained_here

    @property
    def axis(self) -> str:
        """Label of an axis that shows its scores."""
        low, high = self.score_range
        return f"{self.title}, {low:g} to {high:g}, higher is more similar"


def require_usable_metrics(config: Config) -> None:
    """Check that every metric of a run has the weights it needs.

    Raises:
        ConfigError: if a listed metric needs published weights, or weights that section `published` names are missing.
    """
    found = list(unusable_metrics(config))
    if found:
        raise ConfigError(joined(found, "metrics cannot be used"))


def unusable_metrics(config: Config) -> Iterator[str]:
    """Yield a sentence for every metric of a run that lacks the weights it needs.

    Args:
        config: all settings.
    """
    for metric in METRICS.values():
        weights = getattr(config.published, metric.name.value, None)
        if weights is not None:
            try:
                require_weights(metric.name, weights)
            except ConfigError as error:
                yield str(error)
        elif metric.name in config.evaluation.metrics and metric.needs_published_weights:
            name = metric.name.value
            yield f"metric {name!r} needs published weights; {metric.advice} and name it in published.{name}"


def require_weights(name: MetricName, weights: str) -> None:
    """Check that the weights of a metric exist or are the name of a model on the hub.

    Args:
        name: of the metric.
        weights: file, folder or name on the hub.

    Raises:
        ConfigError: if they are neither, saying where to get them.
    """
    if not Path(weights).exists() and not on_hub(weights):
        metric = METRICS[name]
        raise ConfigError(f"{weights}: no such weights for metric {name.value!r}; {metric.advice} and put it there")


def require_comparable(name: MetricName, spatial_dims: int) -> None:
    """Check that a metric compares images of some number of dimensions.

    Args:
        name: of the metric.
        spatial_dims: 2 for images, 3 for volumes.

    Raises:
        ConfigError: if they are volumes and the metric compares images only.
    """
    if spatial_dims == 3 and name not in VOLUME_METRICS:
        names = " and ".join(known.value for known in VOLUME_METRICS)
        raise ConfigError(f"{name.value} compares images only, and the pack holds volumes; compare these by {names}")


def chosen_metrics(listed: list[str], published: dict[str, Any]) -> list[str]:
    """Return the metrics of a run in the order of the table.

    Args:
        listed: names in `evaluation.metrics`.
        published: section `published`; a metric whose weights it names is added.
    """
    return [name.value for name in METRICS if name in listed or published.get(name.value)]


def needs_fit(name: MetricName) -> bool:
    """Return whether the workflow must fit thresholds on labelled pairs, because none are published for its scores.

    Args:
        name: of the metric.
    """
    metric = METRICS[name]
    return metric.thresholds is None or metric.of_reference


def _ssim(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    if real.spatial_dims == 3:
        from deepssim.similarity.ssim_volumes import SsimVolumeComparison

        return SsimVolumeComparison(real, synthetic, threads=threads)
    if real.images.dtype == synthetic.images.dtype == "uint8" and _has_gpu(device):
        from deepssim.similarity.ssim_cuda import SsimCudaComparison

        return SsimCudaComparison(real, synthetic, threads=threads)
    from deepssim.similarity.ssim import SsimComparison

    return SsimComparison(real, synthetic, threads=threads)


def _has_gpu(device: Device) -> bool:
    """Return whether there is a GPU to compile for, without importing torch where there cannot be one."""
    # Triton, which compiles for GPUs, comes with the PyTorch that can use one; not on every system.
    compiler = find_spec("triton") is not None
    if device is Device.CPU or not (compiler or device is Device.CUDA):
        return False
    from deepssim.runtime.devices import resolve_device, why_no_kernels

    if resolve_device(device).type != "cuda" or not compiler:
        return False
    obstacle = why_no_kernels()
    if obstacle:
        logger.warning("SSIM is computed on the processor, not on the GPU: %s", obstacle)
    return obstacle is None


def _fsim(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    from deepssim.config.evaluation import SimilarityConfig
    from deepssim.similarity.fsim import FsimComparison

    return FsimComparison(real, synthetic, threads=threads, variant=(options or SimilarityConfig()).fsim_variant)


def _cosine(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    from deepssim.similarity.embedding_scores import EmbeddingComparison

    return EmbeddingComparison(real, synthetic, threads=threads)


def _pearson(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    from deepssim.similarity.embedding_scores import EmbeddingComparison, EmbeddingSimilarity

    return EmbeddingComparison(real, synthetic, similarity=EmbeddingSimilarity.PEARSON, threads=threads)


def _embed_deepssim(weights, pack, *options, **named):  # type: ignore[no-untyped-def]
    if pack.spatial_dims == 3:
        from deepssim.encoders.volume_slices import embed_volumes

        return embed_volumes(pack, lambda slices: _embed_deepssim_images(weights, slices, *options, **named))
    return _embed_deepssim_images(weights, pack, *options, **named)


def _embed_deepssim_images(weights, pack, device, batch_size, precision, trust=()):  # type: ignore[no-untyped-def]
    from deepssim.encoders import deepssim, published
    from deepssim.runtime.weights import read_metadata

    if read_metadata(weights).get("kind") == deepssim.NAME:
        return deepssim.embed(weights, pack, device=device, batch_size=batch_size, precision=precision)
    return published.embed_deepssim(weights, pack, device, batch_size, precision, trust)


def _embed_chen(*arguments):  # type: ignore[no-untyped-def]
    from deepssim.encoders.published import embed_chen

    return embed_chen(*arguments)


def _embed_dar(*arguments, **options):  # type: ignore[no-untyped-def]
    from deepssim.encoders.dar import embed

    return embed(*arguments, **options)


def _embed_semdedup(*arguments):  # type: ignore[no-untyped-def]
    from deepssim.encoders.semdedup import embed

    return embed(*arguments)


def _below(score: float) -> float:
    """Return the next smaller float64, for thresholds that belong to the class above them."""
    return math.nextafter(score, -math.inf)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name=MetricName.DEEPSSIM,
            title="DeepSSIM (cosine)",
            input_kind=InputKind.EMBEDDINGS,
            compare=_cosine,
            embed=_embed_deepssim,
            trained_here=True,
            advice="download the TorchScript file from huggingface.co/antonioscardace/deepssim",
            thresholds=SSIM_THRESHOLDS,
            score_range=(-1.0, 1.0),
        ),
        Metric(  # SSCD, arXiv:2202.10261
            name=MetricName.CHEN,
            title="Chen, SSCD (cosine)",
            input_kind=InputKind.EMBEDDINGS,
            compare=_cosine,
            embed=_embed_chen,
            advice="download a TorchScript file of SSCD from github.com/facebookresearch/sscd-copy-detection",
            thresholds=Thresholds(low=0.40, high=0.60),
            score_range=(-1.0, 1.0),
        ),
        Metric(  # arXiv:2402.01054; it tells duplicates from the rest only
            name=MetricName.DAR,
            title="Dar (Pearson correlation)",
            input_kind=InputKind.EMBEDDINGS,
            compare=_pearson,
            embed=_embed_dar,
            trained_here=True,
            advice="download the state dict from huggingface.co/antonioscardace/deepssim",
            thresholds=Thresholds(low=0.8030425, high=0.8030425),
            of_reference=True,  # BatchNorm in training mode, see encoders/dar.py
            score_range=(-1.0, 1.0),
        ),
        Metric(
            name=MetricName.SEMDEDUP,
            title="SemDeDup, CLIP (cosine)",
            input_kind=InputKind.EMBEDDINGS,
            compare=_cosine,
            embed=_embed_semdedup,
            advice=(
                "download open_clip_pytorch_model.bin from huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224, "
                "or take a CLIP model of transformers,"
            ),
            thresholds=Thresholds(low=_below(0.97), high=_below(0.99905)),
            score_range=(-1.0, 1.0),
        ),
        Metric(
            name=MetricName.SSIM,
            title="SSIM",
            input_kind=InputKind.PIXELS,
            compare=_ssim,
            thresholds=SSIM_THRESHOLDS,
            score_range=(-1.0, 1.0),
        ),
        Metric(
            name=MetricName.FSIM,
            title="FSIM",
            input_kind=InputKind.PIXELS,
            compare=_fsim,
            thresholds=None,
            score_range=(0.0, 1.0),
        ),
    )
}
