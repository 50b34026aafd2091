"""Encoders that others trained: which files are trusted, and the two that are published as TorchScript.

Not here: Dar's state dict (dar.py), CLIP models (semdedup.py), embedding a pack with a network (extraction.py).
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.choices import Device, MetricName, Precision
from deepssim.devices import resolve_device
from deepssim.encoders.embeddings import Embeddings
from deepssim.encoders.extraction import extract
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore_batch
from deepssim.provenance import file_checksum

logger = logging.getLogger(__name__)

_SSCD_SIDE = 288  # pixels
# Of ImageNet. The reference code divides by the mean instead of the standard deviation.
_SSCD_MEAN, _SSCD_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def trusted_checksum(path: str | Path, trust: Sequence[str]) -> str:
    """Return the SHA-256 of a weight file that may be loaded.

    Args:
        path: weight file. Safetensors hold numbers only and need no trust.
        trust: SHA-256 of files that the user accepts.

    Raises:
        DataError: if the file does not exist.
        ConfigError: if it could run code and its checksum is not accepted.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: no such weight file; name an existing one")
    checksum = file_checksum(path)
    if Path(path).suffix != ".safetensors" and checksum not in trust:
        raise ConfigError(
            f"{path}: files of this kind can run code when they are loaded; if you know where it comes from, accept its "
            f"SHA-256 by --trust or in published.trust: {checksum}"
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
) -> Embeddings:
    """Embed a pack; see `extraction.extract`.

    Raises:
        DataError: if the network does not take such images, or gives no vectors.
    """
    try:
        values = extract(network, pack, device=resolve_device(device), batch_size=batch_size, precision=precision)
    except (RuntimeError, torch.jit.Error) as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise DataError(
            f"the encoder of {name.value} does not take images of {'x'.join(map(str, pack.images.shape[1:]))} "
            f"({str(error).strip().splitlines()[-1][:200]}); check that its file is for this metric"
        ) from None
    if values.ndim != 2:
        raise DataError(f"the encoder of {name.value} gives {values.shape[1:]} per image, no vector; check its file")
    return Embeddings(values, pack.keys, name.value, checksum)


def load_torchscript(path: str | Path, trust: Sequence[str]) -> tuple[nn.Module, str]:
    """Load a TorchScript file onto the CPU.

    Returns:
        The module in evaluation mode, and the file's SHA-256.

    Raises:
        DataError: if the file does not exist or is no TorchScript.
        ConfigError: if it is not trusted.
    """
    checksum = trusted_checksum(path, trust)
    try:
        return torch.jit.load(str(path), map_location="cpu").eval(), checksum
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise DataError(f"{path}: cannot be read as TorchScript ({reason}); download it again") from None


def save_torchscript(path: str | Path, network: nn.Module, size: Sequence[int]) -> None:
    """Write a DeepSSIM encoder as a TorchScript file that the reference code loads: z-scored, three channels, any batch.

    Args:
        path: file to write.
        network: `deepssim.DeepSSIM`, which z-scores images itself.
        size: height and width of the images.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: transformers compares channel counts, which are fixed
        traced = torch.jit.trace(FromZScored(network.cpu()).eval(), torch.randn(2, 3, *size), check_trace=False)
    traced.save(str(path))


class FromZScored(nn.Module):
    """DeepSSIM for z-scored images, (N, 3, H, W); each is stretched to 0 to 1, so that its darkest value is black again."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        grey = images[:, :1]
        low, high = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
        return self.network((grey - low) / (high - low).clamp_min(1e-6))


class ZScored(nn.Module):
    """A published DeepSSIM: takes z-scored images, the grey channel three times."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Embed images of 0 to 1, (N, 1, H, W)."""
        return self.network(zscore_batch(images).repeat(1, 3, 1, 1))


class Coloured(nn.Module):
    """SSCD: takes colour images of 288x288 pixels, standardised as those of ImageNet."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_SSCD_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_SSCD_DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images of 0 to 1, (N, 1, H, W)."""
        side = (_SSCD_SIDE, _SSCD_SIDE)
        resized = F.interpolate(images, size=side, mode="bilinear", align_corners=False, antialias=True)
        return self.network((resized - self.mean) / self.deviation)


def embed_deepssim(
    weights: str, pack: ImagePack, device: Device, batch_size: int, precision: Precision, trust: Sequence[str] = ()
) -> Embeddings:
    """Embed by a published DeepSSIM; see `embed_with`."""
    network, checksum = load_torchscript(weights, trust)
    return embed_with(ZScored(network), pack, MetricName.DEEPSSIM, checksum, device=device, batch_size=batch_size,
                      precision=precision)  # fmt: skip


def embed_chen(
    weights: str, pack: ImagePack, device: Device, batch_size: int, precision: Precision, trust: Sequence[str] = ()
) -> Embeddings:
    """Embed by SSCD (arXiv:2202.10261); see `embed_with`."""
    network, checksum = load_torchscript(weights, trust)
    return embed_with(Coloured(network), pack, MetricName.CHEN, checksum, device=device, batch_size=batch_size,
                      precision=precision)  # fmt: skip
