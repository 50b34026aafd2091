"""The DeepSSIM encoder: cosine similarity of two embeddings estimates the SSIM of the aligned images.

Not here: its training (recipes.py), the backbone (backbones.py), pose estimation (canonical.py), the untrained features that
approximate SSIM (ssim_features.py), the files of embeddings (similarity/embeddings.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepssim.config.base import as_settings
from deepssim.config.choices import Device, Precision
from deepssim.config.encoders import EncoderConfig
from deepssim.config.settings import parse_config
from deepssim.encoders.backbones import Backbone, architecture, build_backbone, in_cache, layer_count, rebuild_backbone
from deepssim.encoders.canonical import Canonicalizer, PoseEstimate
from deepssim.encoders.extraction import extract
from deepssim.encoders.ssim_features import SsimFeatures
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore_batch
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.provenance import file_checksum
from deepssim.runtime.weights import load_weights, rebuild, save_weights
from deepssim.similarity.embeddings import Embeddings

NAME = "deepssim"

_IN_CACHE = 32  # images whose feature maps stay in a processor's cache from one layer to the next
_CORRECTION = 0.1  # weight of the network beside the SSIM features, which its initial noise would drown otherwise
_RESIZED = "ssim.order"  # entry of weight files whose SSIM features were those of a copy of 64x64 pixels
_ARCHITECTURE = "architecture"  # entry of the weight file with the configuration of a transformers backbone


class DeepSSIM(nn.Module):
    """Averaged features of a backbone, followed by the paper's head.

    Two options extend the paper: `canonicalize` first brings images to a common pose and contrast, and `ssim_features` adds
    embeddings whose cosines already approximate SSIM, so that the network only learns the difference.

    Args:
        options: section `encoder`.
        backbone: network for the features; built from the options unless given.

    Source: arXiv:2509.16582.
    """

    def __init__(self, options: EncoderConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.options = options
        self.canonical = Canonicalizer(options.augmentation) if options.canonicalize else None
        self.ssim = SsimFeatures(options.embedding_features) if options.ssim_features else None
        self.features = backbone or build_backbone(options)
        self.head = nn.Sequential(
            nn.BatchNorm1d(self.features.width),
            nn.Linear(self.features.width, options.hidden_features),
            nn.GELU(),
            nn.Dropout(options.dropout),
            nn.Linear(options.hidden_features, options.embedding_features),
        )
        if self.ssim is not None:  # training starts from the SSIM features alone
            for value in self.head[-1].parameters():
                nn.init.zeros_(value)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images.

        Args:
            images: float32 (N, 1, H, W), 0 to 1.

        Returns:
            float32 (N, D), not normalised.
        """
        return self.with_poses(images)[0]

    def with_poses(self, images: Tensor) -> tuple[Tensor, list[PoseEstimate]]:
        """Return the embeddings, as `forward`, and the pose estimates of each pass; none without `canonicalize`.

        If several flips are probable, the embedding is the mean over them, weighted by probability: a choice among them would
        be arbitrary, and could be another one for a copy.

        Args:
            images: float32 (N, 1, H, W), 0 to 1.
        """
        if self.canonical is None:
            return self.embed_aligned(images), []
        canonical = self.canonical(images)
        embedded = self.embed_aligned(canonical.images)
        mean = embedded.new_zeros(images.shape[0], embedded.shape[1])
        weighted = canonical.probabilities.to(embedded)[:, None] * embedded
        return mean.index_add(0, canonical.sources, weighted), canonical.estimates

    def embed_aligned(self, images: Tensor) -> Tensor:
        """Embed images that are in a common pose; shapes as in `forward`.

        Args:
            images: z-scored here and repeated to three channels, as backbones pretrained on colour images expect.
        """
        scored = zscore_batch(images).expand(-1, 3, -1, -1)
        embedded = self.head(torch.cat([self.features(part) for part in in_cache(scored, _IN_CACHE)]))
        return embedded if self.ssim is None else _CORRECTION * embedded + self.ssim(images)


def save_encoder(path: str | Path, network: DeepSSIM) -> None:
    """Write a self-contained safetensors file.

    Args:
        path: file to write.
        network: encoder, whose weights, options and backbone architecture are stored.
    """
    options: dict[str, Any] = as_settings(network.options)
    if network.options.backbone:
        options[_ARCHITECTURE] = architecture(network.features)
    save_weights(path, network, NAME, options)


def load_encoder(path: str | Path) -> DeepSSIM:
    """Rebuild an encoder from its safetensors file.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        DataError: if the file is damaged, of another kind, or of a version with other SSIM features.
    """
    weights, settings = load_weights(path, NAME)
    if _RESIZED in weights:
        raise DataError(
            f"{path}: holds an encoder of an earlier version, whose SSIM features resize every image to 64x64; train it again"
        )
    known = settings.pop(_ARCHITECTURE, None)
    options = parse_config({"encoder": settings}).encoder
    layers = sum(options.depths) if known is None else layer_count(known)
    return rebuild(path, weights, layers, lambda: DeepSSIM(options, known and rebuild_backbone(known)))


def require_size(backbone: Backbone, size: Sequence[int], advice: str) -> None:
    """Check that images are large enough for a backbone.

    Args:
        backbone: of an encoder.
        size: height and width of the images.
        advice: what the user can do.

    Raises:
        ConfigError: if they are too small.
    """
    if min(size) < backbone.min_side:
        raise ConfigError(
            f"images of {size[0]}x{size[1]} are too small for the encoder, which needs {backbone.min_side}x{backbone.min_side}; "
            f"{advice}"
        )


def embed(
    path: str | Path,
    pack: ImagePack,
    *,
    device: Device,
    batch_size: int = 256,
    precision: Precision = Precision.FLOAT32,
) -> Embeddings:
    """Embed every image of a pack.

    Args:
        path: encoder file.
        pack: images, in memory or open.
        device: where to compute.
        batch_size: images at a time.
        precision: see `extraction.extract`.

    Returns:
        Embeddings with the keys of the pack and the checksum of the encoder file.

    Raises:
        ConfigError: if the images are too small for the encoder.
        DataError: if the encoder cannot be read or an embedding is not finite.
    """
    network = load_encoder(path)
    require_size(network.features, pack.images.shape[1:], "provide larger images")
    values = extract(network, pack, device=resolve_device(device), batch_size=batch_size, precision=precision)
    return Embeddings(values, pack.keys, NAME, file_checksum(path))
