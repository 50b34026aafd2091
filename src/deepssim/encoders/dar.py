"""The encoder of Dar et al.: a ResNet trained to distinguish misaligned copies of an image from other images.

Its layers have the names of the published state dict (`model.*` of a ResNet, `fc_end.*`), which loads unchanged.

Not here: its training (dar_training.py), the score between embeddings (similarity/embedding_scores.py).

Source: arXiv:2402.01054.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, MetricName, Precision
from deepssim.config.encoders import DarConfig
from deepssim.config.settings import parse_config
from deepssim.encoders.published import embed_with, trusted_checksum
from deepssim.encoders.resnet import ResNet
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.runtime.provenance import file_checksum
from deepssim.runtime.weights import load_weights, read_metadata, read_state_dict, save_weights
from deepssim.similarity.embeddings import Embeddings

logger = logging.getLogger(__name__)

NAME = MetricName.DAR.value


class Dar(nn.Module):
    """ResNet with one input channel.

    Args:
        options: section `dar`.
    """

    def __init__(self, options: DarConfig) -> None:
        super().__init__()
        self.options = options
        self.model = ResNet(options.bottleneck, options.depths, options.width, options.embedding_features)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: floating point (N, 1, H, W), any range; each image is rescaled to [0, 1].

        Returns:
            float32 (N, D), of norm 1.
        """
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return F.normalize(self.model((images - low) / (high - low).clamp_min(1e-6)).float())


class PublishedDar(nn.Module):
    """Adapter for a published encoder, which knows images as MONAI's loader gives them, transposed.

    Args:
        network: encoder with the published weights.
    """

    def __init__(self, network: Dar) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of upright images of shape (N, 1, H, W)."""
        return self.network(images.transpose(2, 3))


def save_encoder(path: str | Path, network: Dar) -> None:
    """Write the weights of a network, and the options to rebuild it, to a safetensors file.

    Args:
        path: file to write.
        network: encoder.
    """
    save_weights(path, network, NAME, as_settings(network.options))


def load_encoder(path: str | Path, trust: Sequence[str] = ()) -> tuple[Dar, str]:
    """Load an encoder from a weight file of this package or a published state dict.

    Args:
        path: weight file.
        trust: see `published.trusted_checksum`.

    Returns:
        The network in evaluation mode, on the CPU, and the file's SHA-256.

    Raises:
        DataError: if the file is damaged or of another network.
        ConfigError: if it is a pickle file and not trusted.
    """
    if _is_own(path):
        weights, options = load_weights(path, NAME)
        network, checksum = Dar(parse_config({"dar": options}).dar), file_checksum(path)
    else:
        checksum = trusted_checksum(path, trust)
        # The last layer classifies pairs during training; the embedding does not use it.
        weights = {name: value for name, value in read_state_dict(path).items() if not name.startswith("fc_end.")}
        network = Dar(_options_of(weights, path))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"{path}: does not fit a ResNet ({' '.join(str(error).split())[:300]})") from None
    return network.eval(), checksum


def _is_own(path: str | Path) -> bool:
    """Return whether a weight file was trained by this program; any other is a published state dict."""
    return read_metadata(path).get("kind") == NAME


def _options_of(weights: Mapping[str, Tensor], path: str | Path) -> DarConfig:
    """Infer the architecture from the shapes of the weights."""
    needed = ("model.conv1.weight", "model.layer4.0.conv1.weight", "model.fc.weight")
    absent = [name for name in needed if name not in weights]
    if absent or weights[needed[0]].shape[1] != 1:
        what = f"lacks {absent[0]!r}" if absent else "takes more than one channel"
        raise DataError(f"{path}: {what}; expected the state dict of Dar's ResNet (`model.*`, `fc_end.*`), one channel")
    blocks = {tuple(name.split(".")[1:3]) for name in weights if name.startswith("model.layer")}
    try:
        return DarConfig(
            bottleneck="model.layer1.0.conv3.weight" in weights,
            depths=tuple(sum(layer == f"layer{stage}" for layer, _ in blocks) for stage in range(1, 5)),
            width=weights[needed[0]].shape[0],
            embedding_features=weights[needed[2]].shape[0],
        )
    except ValueError:  # such as a stage without blocks
        raise DataError(
            f"{path}: does not fit a ResNet; expected four stages (`model.layer1` to `model.layer4`)"
        ) from None


def embed(
    weights: str,
    pack: ImagePack,
    device: Device,
    batch_size: int,
    precision: Precision,
    trust: Sequence[str] = (),
    *,
    batch_statistics: bool = False,
) -> Embeddings:
    """Embed every image of a pack.

    The reference code leaves the published network in training mode: batch normalisation takes the statistics of each batch, so
    that scores depend on which images share a batch and on `batch_size`. Its published threshold belongs to such scores. Batches
    follow the order of the pack, in `compute-matrix` that of the sorted keys; in the reference, that of the file system.

    Args:
        weights: weight file, see `load_encoder`.
        pack: images.
        device: where to compute.
        batch_size: images at a time.
        precision: see `extraction.extract`.
        trust: see `published.trusted_checksum`.
        batch_statistics: embed with published weights as the reference code does; without effect on weights trained here.

    Returns:
        Embeddings with the keys of the pack.

    Raises:
        DataError: if the weights are unusable; see `published.embed_with`.
        ConfigError: if they are not trusted.
    """
    network, checksum = load_encoder(weights, trust)
    own = _is_own(weights)
    if batch_statistics and not own:
        logger.info("dar: normalised by the statistics of each batch of %d images, as in the reference", batch_size)
    return embed_with(
        network if own else PublishedDar(network), pack, MetricName.DAR, checksum, device=device, batch_size=batch_size,
        precision=precision, batch_statistics=batch_statistics and not own,
    )  # fmt: skip
