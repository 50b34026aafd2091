"""Published encoders: trust in their files, and the two that come as TorchScript.

Not here: Dar's state dict (dar.py), CLIP models (semdedup.py), embedding a pack with a network (extraction.py).
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.config.choices import Device, MetricName, Precision
from deepssim.encoders.extraction import extract
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore_batch
from deepssim.runtime.devices import resolve_device
from deepssim.runtime.provenance import file_checksum
from deepssim.similarity.embeddings import Embeddings

logger = logging.getLogger(__name__)

_SSCD_SIDE = 288  # pixels
# Statistics of ImageNet. The reference code divides by the mean instead of the standard deviation.
_SSCD_MEAN, _SSCD_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def trusted_checksum(path: str | Path, trust: Sequence[str]) -> str:
    """Return the SHA-256 of a weight file after checking that it may be loaded.

    Args:
        path: weight file. Safetensors cannot contain code and need no trust.
        trust: SHA-256 of the files that the user trusts.

    Returns:
        Checksum in hexadecimal digits.

    Raises:
        DataError: if the file does not exist.
        ConfigError: if loading it could run code and it is not trusted.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such weight file; name an existing one")
    checksum = file_checksum(path)
    if Path(path).suffix != ".safetensors" and checksum not in trust:
        raise ConfigError(
            f"{path}: loading a file of this kind can run code; if you trust its origin, accept its SHA-256 by --trust or in "
            f"published.trust: {checksum}"
        )
    logger.info("weights %s, SHA-256 %s", path, checksum)
    return checksum


def embed_with(
    network: nn.Module,
    pack: ImagePack,
    name: MetricName,
    checksum: str,
    *,
    device: Device,
    batch_size: int,
    precision: Precision,
    batch_statistics: bool = False,
) -> Embeddings:
    """Embed every image of a pack with a network that was trained elsewhere.

    Args:
        network: maps float32 (N, 1, H, W), 0 to 1, to (N, D).
        pack: images.
        name: metric of the embeddings.
        checksum: SHA-256 of the network's weights.
        device: where to compute.
        batch_size: images at a time.
        precision, batch_statistics: see `extraction.extract`.

    Returns:
        Embeddings with the keys of the pack.

    Raises:
        DataError: if the network does not accept images of this size, or its output is not one vector per image.
    """
    try:
        values = extract(network, pack, device=resolve_device(device), batch_size=batch_size, precision=precision,
                         batch_statistics=batch_statistics)  # fmt: skip
    except (
        RuntimeError,
        ValueError,
        torch.jit.Error,
    ) as error:  # torch raises a ValueError for statistics of one value
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise DataError(
            f"the encoder of {name.value} does not accept images of {'x'.join(map(str, pack.images.shape[1:]))} "
            f"({str(error).strip().splitlines()[-1][:200]}); check that its file is for this metric"
        ) from None
    if values.ndim != 2:
        raise DataError(
            f"the encoder of {name.value} returns an array of shape {values.shape[1:]} per image instead of a vector; check its file"
        )
    return Embeddings(values, pack.keys, name.value, checksum)


def load_torchscript(path: str | Path, trust: Sequence[str]) -> tuple[nn.Module, str]:
    """Load a TorchScript file.

    Args:
        path: file to load.
        trust: see `trusted_checksum`.

    Returns:
        The module in evaluation mode, on the CPU, and the file's SHA-256.

    Raises:
        DataError: if the file does not exist or is not TorchScript.
        ConfigError: if it is not trusted.
    """
    checksum = trusted_checksum(path, trust)
    try:
        return torch.jit.load(str(path), map_location="cpu").eval(), checksum
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise DataError(f"{path}: cannot be read as TorchScript ({reason}); download it again") from None


def save_torchscript(path: str | Path, network: nn.Module, size: Sequence[int]) -> None:
    """Write a DeepSSIM encoder as a TorchScript file for the reference code, whose input is z-scored (N, 3, H, W).

    Args:
        path: file to write.
        network: `deepssim.DeepSSIM`, which z-scores images itself.
        size: height and width of the images in pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing fixes transformers' checks of channel counts, which do not change
        traced = torch.jit.trace(FromZScored(network.cpu()).eval(), torch.randn(2, 3, *size), check_trace=False)
    traced.save(str(path))


class FromZScored(nn.Module):
    """DeepSSIM for z-scored images, which are rescaled to [0, 1] first, so that the darkest value is black again.

    Args:
        network: takes images (N, 1, H, W), 0 to 1.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of z-scored images of shape (N, 3, H, W) with equal channels."""
        grey = images[:, :1]
        low, high = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
        return self.network((grey - low) / (high - low).clamp_min(1e-6))


class PublishedDeepSSIM(nn.Module):
    """Adapter for a published DeepSSIM encoder.

    Args:
        network: takes z-scored images (N, 3, H, W) with equal channels.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of images of shape (N, 1, H, W), 0 to 1."""
        return self.network(zscore_batch(images).repeat(1, 3, 1, 1))


class Sscd(nn.Module):
    """Adapter for a published SSCD encoder.

    Args:
        network: takes colour images (N, 3, 288, 288), standardised by the statistics of ImageNet.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_SSCD_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_SSCD_DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of images of shape (N, 1, H, W), 0 to 1."""
        side = (_SSCD_SIDE, _SSCD_SIDE)
        resized = F.interpolate(images, size=side, mode="bilinear", align_corners=False, antialias=True)
        return self.network((resized - self.mean) / self.deviation)


def embed_deepssim(
    weights: str, pack: ImagePack, device: Device, batch_size: int, precision: Precision, trust: Sequence[str] = ()
) -> Embeddings:
    """Embed every image of a pack with a published DeepSSIM encoder.

    Args:
        weights: TorchScript file.
        pack: images.
        device: where to compute.
        batch_size: images at a time.
        precision: see `extraction.extract`.
        trust: see `trusted_checksum`.

    Returns:
        Embeddings with the keys of the pack.

    Raises:
        DataError: if the file is unusable; see `embed_with`.
        ConfigError: if it is not trusted.
    """
    network, checksum = load_torchscript(weights, trust)
    return embed_with(PublishedDeepSSIM(network), pack, MetricName.DEEPSSIM, checksum, device=device, batch_size=batch_size,
                      precision=precision)  # fmt: skip


def embed_chen(
    weights: str, pack: ImagePack, device: Device, batch_size: int, precision: Precision, trust: Sequence[str] = ()
) -> Embeddings:
    """Embed every image of a pack with a published SSCD encoder.

    Args:
        weights: TorchScript file.
        pack: images.
        device: where to compute.
        batch_size: images at a time.
        precision: see `extraction.extract`.
        trust: see `trusted_checksum`.

    Returns:
        Embeddings with the keys of the pack.

    Raises:
        DataError: if the file is unusable; see `embed_with`.
        ConfigError: if it is not trusted.

    Source: arXiv:2202.10261.
    """
    network, checksum = load_torchscript(weights, trust)
    return embed_with(Sscd(network), pack, MetricName.CHEN, checksum, device=device, batch_size=batch_size,
                      precision=precision)  # fmt: skip
