"""The table of metrics: what each one reads, how it scores and which thresholds it has.

Adding a metric takes a record here and the file that it points to. Functions import what they need when they run: a
stage that only compares embeddings must not wait for the networks.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepssim.choices import MetricName
from deepssim.errors import ConfigError
from deepssim.evaluation.labels import TRUTH, Thresholds
from deepssim.similarity.tiles import Comparison

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_WEIGHT_FILES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")


class Compares(StrEnum):
    """What a metric compares."""

    PIXELS = "pixels"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score a pair of images; higher scores are more similar.

    Attributes:
        name: as in the config and in file names.
        title: as in plots.
        compares: image packs or embeddings.
        compare: `(real, synthetic, threads, device)`, both packs or both embeddings, and section `similarity` if the
            metric has settings there, to a `tiles.Comparison`.
        embed: `(weights, pack, device, batch size, precision)` and checksums to trust, to embeddings; None for pixels.
        trained_here: whether the workflow trains the encoder where no weights are given.
        advice: where published weights are found.
        thresholds: published ones; None where there are none.
        of_weights: the thresholds hold for the published weights only; weights that are trained here need their own.
        score_range: lowest and highest possible score.
    """

    name: MetricName
    title: str
    compares: Compares
    compare: Callable[..., Comparison]
    embed: Callable | None = None
    trained_here: bool = False
    advice: str = ""
    thresholds: Thresholds | None
    of_weights: bool = False
    score_range: tuple[float, float]

    @property
    def axis(self) -> str:
        """What a plot or a table says of its scores."""
        low, high = self.score_range
        return f"{self.title}, {low:g} to {high:g}, higher is more similar"


def weights_of(name: MetricName, published: Any) -> str | None:
    """Return what section `published` names as the weights of a metric, None if it needs none.

    Raises:
        ConfigError: if the metric needs some.
    """
    weights = getattr(published, name.value, None)
    metric = METRICS[name]
    if weights is None and metric.compares is Compares.EMBEDDINGS and not metric.trained_here:
        raise ConfigError(
            f"metric {name.value!r} needs published weights; {metric.advice} and name it in published.{name.value}"
        )
    return weights


def on_hub(weights: str) -> bool:
    """Say whether `weights` is a name on the Hugging Face hub, such as `openai/clip-vit-base-patch32`, and no file."""
    path = Path(weights)
    return bool(_HUB_NAME.fullmatch(weights)) and path.suffix not in _WEIGHT_FILES and not path.parent.is_dir()


def require_weights(name: MetricName, weights: str) -> None:
    """Raise a ConfigError if weights are neither there nor on the hub, saying what to put there."""
    if not Path(weights).exists() and not on_hub(weights):
        metric = METRICS[name]
        raise ConfigError(f"{weights}: no such weights for metric {name.value!r}; {metric.advice} and put it there")


def chosen_metrics(listed: list[str], published: dict[str, Any]) -> list[str]:
    """Return the metrics of a run: those listed, and those whose weights are given, in the order of the table."""
    return [name.value for name in METRICS if name in listed or published.get(name.value)]


def needs_fit(name: MetricName, weights: str | None) -> bool:
    """Say whether thresholds must be fitted on labelled pairs, because none are published for these weights."""
    metric = METRICS[name]
    return metric.thresholds is None or (metric.of_weights and weights is None)


def _ssim(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    from deepssim.devices import resolve_device
    from deepssim.similarity.ssim import SsimComparison

    eight_bits = real.images.dtype == synthetic.images.dtype == "uint8"
    # Triton, which compiles for GPUs, comes with the PyTorch that can use one; not on every system.
    if eight_bits and resolve_device(device).type == "cuda" and find_spec("triton"):
        from deepssim.similarity.ssim_cuda import SsimCudaComparison

        return SsimCudaComparison(real, synthetic, threads=threads)
    return SsimComparison(real, synthetic, threads=threads)


def _fsim(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    from deepssim.config import SimilarityConfig
    from deepssim.similarity.fsim import FsimComparison

    return FsimComparison(real, synthetic, threads=threads, variant=(options or SimilarityConfig()).fsim_variant)


def _cosine(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    from deepssim.similarity.embedding_scores import EmbeddingComparison

    return EmbeddingComparison(real, synthetic, threads=threads)


def _pearson(real, synthetic, threads, device, options=None):  # type: ignore[no-untyped-def]
    from deepssim.similarity.embedding_scores import EmbeddingComparison, Likeness

    return EmbeddingComparison(real, synthetic, likeness=Likeness.PEARSON, threads=threads)


def _embed_deepssim(weights, pack, device, batch_size, precision, trust=()):  # type: ignore[no-untyped-def]
    from deepssim.encoders import deepssim, published
    from deepssim.weights import about

    if about(weights).get("kind") == deepssim.NAME:
        return deepssim.embed(weights, pack, device=device, batch_size=batch_size, precision=precision)
    return published.embed_deepssim(weights, pack, device, batch_size, precision, trust)


def _embed_chen(*arguments):  # type: ignore[no-untyped-def]
    from deepssim.encoders.published import embed_chen

    return embed_chen(*arguments)


def _embed_dar(*arguments):  # type: ignore[no-untyped-def]
    from deepssim.encoders.dar import embed

    return embed(*arguments)


def _embed_semdedup(*arguments):  # type: ignore[no-untyped-def]
    from deepssim.encoders.semdedup import embed

    return embed(*arguments)


def _below(score: float) -> float:
    """Return the next smaller number, for thresholds that belong to the class above them."""
    return math.nextafter(score, -math.inf)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name=MetricName.DEEPSSIM,
            title="DeepSSIM (cosine)",
            compares=Compares.EMBEDDINGS,
            compare=_cosine,
            embed=_embed_deepssim,
            trained_here=True,
            advice="download the TorchScript file from huggingface.co/antonioscardace/deepssim",
            thresholds=TRUTH,
            score_range=(-1.0, 1.0),
        ),
        Metric(  # SSCD, arXiv:2202.10261
            name=MetricName.CHEN,
            title="Chen, SSCD (cosine)",
            compares=Compares.EMBEDDINGS,
            compare=_cosine,
            embed=_embed_chen,
            advice="download a TorchScript file of SSCD from github.com/facebookresearch/sscd-copy-detection",
            thresholds=Thresholds(low=0.40, high=0.60),
            of_weights=True,
            score_range=(-1.0, 1.0),
        ),
        Metric(  # arXiv:2402.01054; it tells duplicates from the rest only
            name=MetricName.DAR,
            title="Dar (Pearson correlation)",
            compares=Compares.EMBEDDINGS,
            compare=_pearson,
            embed=_embed_dar,
            trained_here=True,
            advice="download the state dict from huggingface.co/antonioscardace/deepssim",
            thresholds=Thresholds(low=0.8030425, high=0.8030425),
            of_weights=True,
            score_range=(-1.0, 1.0),
        ),
        Metric(
            name=MetricName.SEMDEDUP,
            title="SemDeDup, CLIP (cosine)",
            compares=Compares.EMBEDDINGS,
            compare=_cosine,
            embed=_embed_semdedup,
            advice=(
                "download open_clip_pytorch_model.bin from huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224, "
                "or take a CLIP model of transformers,"
            ),
            thresholds=Thresholds(low=_below(0.97), high=_below(0.99905)),
            of_weights=True,
            score_range=(-1.0, 1.0),
        ),
        Metric(
            name=MetricName.SSIM,
            title="SSIM",
            compares=Compares.PIXELS,
            compare=_ssim,
            thresholds=TRUTH,
            score_range=(-1.0, 1.0),
        ),
        Metric(
            name=MetricName.FSIM,
            title="FSIM",
            compares=Compares.PIXELS,
            compare=_fsim,
            thresholds=None,
            score_range=(0.0, 1.0),
        ),
    )
}
