"""The DeepSSIM encoder: cosine similarity of two embeddings estimates the SSIM of the aligned images.

Not here: how it is trained (recipes.py), its backbone (backbones.py), its sense of pose (canonical.py), the part
that is near SSIM untrained (ssim_features.py), other encoders, storing embeddings (embeddings.py).
"""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from deepssim.choices import Device, Precision
from deepssim.config import EncoderConfig, parse_config
from deepssim.devices import resolve_device
from deepssim.encoders.backbones import Backbone, architecture, build_backbone, layers_of, rebuild_backbone
from deepssim.encoders.canonical import Canonicalizer, Pose
from deepssim.encoders.embeddings import Embeddings
from deepssim.encoders.extraction import extract
from deepssim.encoders.ssim_features import SsimFeatures
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore_batch
from deepssim.provenance import file_checksum
from deepssim.settings import as_settings
from deepssim.weights import load_weights, rebuild, save_weights

NAME = "deepssim"

_CORRECTION = 0.1  # of the network beside the SSIM features, which it would drown before it has learned anything
_ARCHITECTURE = "architecture"  # entry of the file that rebuilds a backbone of transformers


class DeepSSIM(nn.Module):
    """Features of a backbone, averaged, and the paper's head (arXiv:2509.16582).

    Two parts of ours can be switched on: images are brought to a common pose and contrast first (`canonicalize`), and
    embeddings whose cosines are near to SSIM already are added (`ssim_features`), so that the network learns only what
    is missing. Without them it is the paper's.

    Input: float32 (N, 1, H, W), 0 to 1; z-scored per image and repeated to three channels inside, so that weights from
    colour images fit. Output: float32 (N, D), not normalised.
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
        if self.ssim is not None:  # learning starts where the features alone are
            for value in self.head[-1].parameters():
                nn.init.zeros_(value)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch."""
        return self.with_poses(images)[0]

    def with_poses(self, images: Tensor) -> tuple[Tensor, list[Pose]]:
        """Return the embeddings and how the images were seen to lie, look by look.

        Where more than one flip is likely, the embedding is the mean over these: the choice of one would be right or wrong
        by chance, and a copy could get the other.
        """
        if self.canonical is None:
            return self.embed_posed(images), []
        posed = self.canonical(images)
        embedded = self.embed_posed(posed.images)
        mean = embedded.new_zeros(images.shape[0], embedded.shape[1])
        return mean.index_add(0, posed.image, posed.shares.to(embedded)[:, None] * embedded), posed.poses

    def embed_posed(self, images: Tensor) -> Tensor:
        """Return the embeddings of images that are in a common pose."""
        embedded = self.head(self.features(zscore_batch(images).expand(-1, 3, -1, -1)))
        return embedded if self.ssim is None else _CORRECTION * embedded + self.ssim(images)


def save_encoder(path: str | Path, network: DeepSSIM) -> None:
    """Write weights and all that rebuilds the network to one safetensors file, which needs no other."""
    options: dict[str, Any] = as_settings(network.options)
    if network.options.backbone:
        options[_ARCHITECTURE] = architecture(network.features)
    save_weights(path, network, NAME, options)


def load_encoder(path: str | Path) -> DeepSSIM:
    """Rebuild an encoder from its safetensors file, including what it does to images first.

    Returns:
        The network in evaluation mode, on the CPU.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    weights, settings = load_weights(path, NAME)
    known = settings.pop(_ARCHITECTURE, None)
    options = parse_config({"encoder": settings}).encoder
    layers = sum(options.depths) if known is None else layers_of(known)
    return rebuild(path, weights, layers, lambda: DeepSSIM(options, known and rebuild_backbone(known)))


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

    Raises:
        DataError: if the encoder cannot be read or an embedding is not finite.
    """
    values = extract(
        load_encoder(path), pack, device=resolve_device(device), batch_size=batch_size, precision=precision
    )
    return Embeddings(values, pack.keys, NAME, file_checksum(path))
