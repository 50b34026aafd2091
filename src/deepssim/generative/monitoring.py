"""Measure memorization while the diffusion model trains: the fraction of generated images that are copies.

Not here: the callback that runs it (training/callbacks.py), the score (similarity/ssim.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from torch import nn

from deepssim.config.choices import Device, MetricName
from deepssim.config.generative import LdmConfig, SynthesisConfig
from deepssim.generative.latents import Latents
from deepssim.generative.sampling import generate
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label
from deepssim.images.keys import split_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.images.sheets import save_sheet
from deepssim.metrics import METRICS
from deepssim.similarity.topk import top_k
from deepssim.training.callbacks import Inspection

_SHOWN = 12


def keys_to_generate(train_keys: Sequence[str], count: int) -> list[str]:
    """Choose keys of synthetic images, distributed evenly over the training records.

    Args:
        train_keys: keys of the training images.
        count: number of synthetic images.

    Returns:
        `count` keys of synthetic images.
    """
    records = [split_key(key)[0] for key in train_keys]
    if count <= len(records):
        return [synthetic_key(records[row], 0) for row in np.linspace(0, len(records) - 1, count).round().astype(int)]
    return [synthetic_key(records[number % len(records)], number // len(records)) for number in range(count)]


def copy_statistics(train_images: ImagePack, generated: ImagePack, threads: int = 1) -> dict[str, float]:
    """Compare generated images with all training images by SSIM.

    Args:
        train_images: images the generator was trained on.
        generated: its images, of the same size.
        threads: processor threads.

    Returns:
        `copy_rate`, the fraction of generated images whose nearest training image is a duplicate by the published
        threshold, 0 to 1, and `nearest_ssim`, the mean SSIM with the nearest training image.
    """
    comparison = METRICS[MetricName.SSIM].compare(train_images, generated, threads, Device.CPU)
    _, best = top_k(comparison, 1, threads=threads, rows=False)
    assert best is not None
    nearest = best.scores[:, 0]
    copied = SSIM_THRESHOLDS.classify(nearest) == Label.DUPLICATE
    return {"copy_rate": float(copied.mean()), "nearest_ssim": float(nearest.mean())}


def memorization_inspection(
    train_images: ImagePack,
    latents: Latents,
    autoencoder: AutoencoderKL,
    options: LdmConfig,
    *,
    seed: int,
    device: torch.device,
) -> Inspection | None:
    """Return a callback that generates images and counts copies at regular intervals; None if this is switched off.

    The same images are generated every time, from the same noise, so that epochs are comparable.

    Args:
        train_images: images of the train split, of 8 or 16 bits.
        latents: latents of these images.
        autoencoder: trained autoencoder.
        options: section `ldm`.
        seed: the config's seed.
        device: where to generate.
    """
    wanted = options.memorization
    if not wanted.every:
        return None
    keys = keys_to_generate(train_images.keys, wanted.images)
    synthesis = SynthesisConfig(batch_size=min(64, len(keys)))

    def inspect(network: nn.Module, picture: Path | None) -> dict[str, float]:
        generated = generate(
            keys, network, autoencoder, latents=latents, ldm=options, options=synthesis, seed=seed, device=device,
            bit_depth=train_images.bit_depth,
        )  # fmt: skip
        if picture:
            save_sheet(picture, generated.select(keys[:_SHOWN]))
        return copy_statistics(train_images, generated, torch.get_num_threads())

    return Inspection(wanted.every, inspect, stop=_stop_above(wanted.stop_above))


def _stop_above(limit: float | None) -> Callable[[dict[str, float]], str | None]:
    def stop(metrics: dict[str, float]) -> str | None:
        if limit is None or metrics["copy_rate"] <= limit:
            return None
        return f"{metrics['copy_rate']:.1%} of generated images are copies, above ldm.memorization.stop_above of {limit:.1%}"

    return stop
