"""Embed image packs with any network, in batches and in the precision that is fastest on the hardware.

Not here: the networks (deepssim.py, dar.py, published.py, semdedup.py), files of embeddings (similarity/embeddings.py).
"""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from deepssim.config.choices import Precision
from deepssim.errors import ConfigError, DataError
from deepssim.images.packs import ImagePack
from deepssim.runtime.devices import computes_bfloat16, exact_float32, with_less_memory

logger = logging.getLogger(__name__)

MAX_DEVIATION = 2e-3  # of cosines in bfloat16; thresholds of cosines are given to two digits
MAX_BATCH = 256  # images at a time: larger batches are not faster, on a processor or a GPU, but need more memory
_CHECKED = 64  # images embedded in both precisions
# A smaller last batch is filled up to a multiple of this on a processor. On AVX-512, batches of 8, 16, 32 and 64 images gave
# equal bits for ConvNeXts of 1 to 88 million weights, smaller ones a relative deviation of up to 6e-7.
_CHUNK = 8


@torch.inference_mode()
def extract(
    network: nn.Module,
    pack: ImagePack,
    *,
    device: torch.device,
    batch_size: int,
    precision: Precision = Precision.AUTO,
    check: bool = True,
    batch_statistics: bool = False,
) -> np.ndarray:
    """Embed every image of a pack.

    Args:
        network: maps float32 (N, 1, H, W), 0 to 1, to (N, D).
        pack: images, in memory or open.
        device: where to compute.
        batch_size: images at a time, 256 at most, and fewer where GPU memory is short. A smaller last batch is filled up, on a
            processor to a multiple of 8 and on a GPU, where this takes little time, to `batch_size`, so that an image's rounding
            errors do not depend on the number of images.
        precision: `auto` uses bfloat16 where the hardware supports it; the log then reports how far the cosines of a sample
            deviate from those in float32.
        check: compare bfloat16 with float32 first, on 64 images.
        batch_statistics: leave the network in training mode, where batch normalisation takes the statistics of each batch, so that
            an embedding depends on the other images of its batch; the last batch is not padded then.

    Returns:
        float32 (N, D).

    Raises:
        ConfigError: if the batch size is below 1.
        DataError: if an embedding is not finite, or cosines in bfloat16 deviate by more than 0.002. To continue in float32
            instead could compare embeddings of two precisions.
        torch.OutOfMemoryError: if not even one image fits into GPU memory, or with `batch_statistics` one batch.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; at least one image has to be embedded at a time")
    batch_size = min(batch_size, max(len(pack.keys), 1) if batch_statistics else MAX_BATCH)
    # Convolutions of both precisions are fastest in this memory layout.
    network = network.to(device).train(batch_statistics)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    half = precision is Precision.BFLOAT16 or (precision is Precision.AUTO and computes_bfloat16(device))

    def embed(size: int) -> np.ndarray:
        if half and check:
            _require_agreement(network, pack, device, size)
        batches = list(_batches(network, pack, device, size, half, padded=not batch_statistics))
        return np.concatenate(batches or [np.zeros((0, 0), np.float32)])

    # Statistics of smaller batches would be other statistics.
    values = embed(batch_size) if batch_statistics else with_less_memory(embed, batch_size, "embedding")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        raise DataError(
            f"{bad.size} of {len(values)} embeddings are not finite, first that of {pack.keys[bad[0]]!r}; "
            "check the image and the encoder"
        )
    return values


def _batches(
    network: nn.Module, pack: ImagePack, device: torch.device, batch_size: int, half: bool, *, padded: bool = True
) -> Iterator[np.ndarray]:
    for start in tqdm(range(0, len(pack.keys), batch_size), desc="embedding", unit="batch", disable=None):
        rows = slice(start, start + batch_size)
        images = torch.from_numpy(ImagePack(pack.images[rows], pack.keys[rows]).unit())[:, None]
        size = _filled_size(len(images), batch_size, device) if padded else len(images)
        filled = F.pad(images, (0, 0, 0, 0, 0, 0, 0, size - len(images)))
        yield _embed(network, filled.to(device), half)[: len(images)].float().cpu().numpy()


def _filled_size(count: int, batch_size: int, device: torch.device) -> int:
    """Return the size to which a batch of `count` images is filled up."""
    chunk = _CHUNK if device.type == "cpu" else batch_size
    return min(batch_size, -(-count // chunk) * chunk)


def _embed(network: nn.Module, images: Tensor, half: bool) -> Tensor:
    context: AbstractContextManager = torch.autocast(images.device.type, torch.bfloat16) if half else exact_float32()
    with context:
        return network(images.to(memory_format=torch.channels_last))


def _require_agreement(network: nn.Module, pack: ImagePack, device: torch.device, batch_size: int) -> None:
    """Compare the cosines of a sample of images, taken at regular intervals, in both precisions."""
    if not pack.keys:
        return
    chosen = np.unique(np.linspace(0, len(pack.keys) - 1, _CHECKED).astype(int))
    sample = ImagePack(pack.images[chosen], [pack.keys[row] for row in chosen])
    cosines = []
    for half in (False, True):
        parts = [torch.from_numpy(part) for part in _batches(network, sample, device, min(batch_size, _CHECKED), half)]
        directions = F.normalize(torch.cat(parts).double())
        cosines.append(directions @ directions.T)
    deviation = float((cosines[0] - cosines[1]).abs().max())
    logger.info("bfloat16 changes the cosines of %d images by at most %.5f", len(chosen), deviation)
    if not deviation <= MAX_DEVIATION:
        raise DataError(
            f"bfloat16 changes cosines of {len(chosen)} images by {deviation:.5f}, more than {MAX_DEVIATION:g}; "
            "set evaluation.embedding_precision to float32"
        )
