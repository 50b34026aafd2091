"""The stage that embeds images."""

from collections.abc import Sequence

from deepssim.config.choices import Device, MetricName, Precision
from deepssim.config.encoders import PublishedConfig
from deepssim.errors import ConfigError
from deepssim.images.packs import open_pack
from deepssim.metrics import METRICS, require_comparable, require_weights
from deepssim.similarity.embeddings import write_embeddings


def embed(
    *,
    pack: str,
    embeddings: str,
    metric: MetricName,
    device: Device,
    embedding_batch_size: int,
    embedding_precision: Precision,
    published: PublishedConfig,
    weights: str | Sequence[str] | None = None,
) -> None:
    """Embed all images of a pack.

    Args:
        pack: image pack.
        embeddings: file to write.
        metric: whose encoder to use.
        device, embedding_batch_size, embedding_precision, published: settings.
        weights: encoder file; the one that section `published` names unless given.

    Raises:
        ConfigError: if the metric compares pixels, or its weights do not exist.
    """
    encode = METRICS[metric].embed
    if encode is None:
        raise ConfigError(f"{metric.value} compares pixels and has no embeddings; use `deepssim score-images`")
    encoder = str(weights or getattr(published, metric.value))
    require_weights(metric, encoder)
    with open_pack(pack) as images:
        require_comparable(metric, images.spatial_dims)
        found = encode(encoder, images, device, embedding_batch_size, embedding_precision, published.trust)
        write_embeddings(embeddings, found)
