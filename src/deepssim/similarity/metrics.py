"""The table of metrics: what each one reads, how it scores and which thresholds it has.

Adding a metric takes a record here and the file that it points to. Functions import what they need when they run: a
stage that only compares embeddings must not wait for the networks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec

from deepssim.choices import MetricName
from deepssim.evaluation.labels import TRUTH, Thresholds
from deepssim.similarity.tiles import Comparison


class Compares(StrEnum):
    """What a metric compares."""

    PIXELS = "pixels"
    EMBEDDINGS = "embeddings"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score a pair of images.

    Attributes:
        name: as in the config and in file names.
        title: as in plots.
        compares: image packs or embeddings.
        compare: `(real, synthetic, threads, device)`, both packs or both embeddings, to a `tiles.Comparison`; higher
            scores are more similar.
        embed: `(weights file, pack, device, batch size, precision)` to embeddings; None for pixels.
        thresholds: published ones.
        score_range: lowest and highest possible score.
    """

    name: MetricName
    title: str
    compares: Compares
    compare: Callable[..., Comparison]
    embed: Callable | None
    thresholds: Thresholds
    score_range: tuple[float, float]


def _ssim(real, synthetic, threads, device):  # type: ignore[no-untyped-def]
    from deepssim.devices import resolve_device
    from deepssim.similarity.ssim import SsimComparison

    eight_bits = real.images.dtype == synthetic.images.dtype == "uint8"
    # Triton, which compiles for GPUs, comes with the PyTorch that can use one; not on every system.
    if eight_bits and resolve_device(device).type == "cuda" and find_spec("triton"):
        from deepssim.similarity.ssim_cuda import SsimCudaComparison

        return SsimCudaComparison(real, synthetic, threads=threads)
    return SsimComparison(real, synthetic, threads=threads)


def _cosine(real, synthetic, threads, device):  # type: ignore[no-untyped-def]
    from deepssim.similarity.embedding_scores import EmbeddingComparison

    return EmbeddingComparison(real, synthetic, threads=threads)


def _embed_deepssim(weights, pack, device, batch_size, precision):  # type: ignore[no-untyped-def]
    from deepssim.encoders.deepssim import embed

    return embed(weights, pack, device=device, batch_size=batch_size, precision=precision)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name=MetricName.DEEPSSIM,
            title="DeepSSIM (cosine)",
            compares=Compares.EMBEDDINGS,
            compare=_cosine,
            embed=_embed_deepssim,
            thresholds=TRUTH,
            score_range=(-1.0, 1.0),
        ),
        Metric(
            name=MetricName.SSIM,
            title="SSIM",
            compares=Compares.PIXELS,
            compare=_ssim,
            embed=None,
            thresholds=TRUTH,
            score_range=(-1.0, 1.0),
        ),
    )
}
