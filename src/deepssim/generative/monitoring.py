"""Count copies while the diffusion model trains.

Not here: when this happens (training_callbacks.py), the score (similarity/ssim.py).
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


def keys_to_draw(train_keys: Sequence[str], count: int) -> list[str]:
    """Choose keys of `count` synthetic images, spread evenly over the training records."""
    records = [split_key(key)[0] for key in train_keys]
    if count <= len(records):
        return [synthetic_key(records[row], 0) for row in np.linspace(0, len(records) - 1, count).round().astype(int)]
    return [synthetic_key(records[number % len(records)], number // len(records)) for number in range(count)]


def copy_figures(train_images: ImagePack, generated: ImagePack, threads: int = 1) -> dict[str, float]:
    """Compare generated images with all training images by SSIM.

    Returns:
        `copy_rate`, share of generated images whose nearest training image is a duplicate by the published threshold,
        and `nearest_ssim`, the mean SSIM with the nearest one.
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
    """Return what generates and compares some images every so many epochs; None if the config does not ask for it.

    The same images are generated every time, from the same noise, so that epochs compare.

    Args:
        train_images: what was trained on, in any bit depth.
        latents: of the same images.
        autoencoder: trained.
        options: section `ldm`.
        seed: the config's seed.
        device: where to generate.
    """
    wanted = options.memorization
    if not wanted.every:
        return None
    keys = keys_to_draw(train_images.keys, wanted.images)
    draw = SynthesisConfig(batch_size=min(64, len(keys)))

    def look(network: nn.Module, picture: Path | None) -> dict[str, float]:
        generated = generate(
            keys, network, autoencoder, latents=latents, ldm=options, options=draw, seed=seed, device=device,
            bit_depth=train_images.bit_depth,
        )  # fmt: skip
        if picture:
            save_sheet(picture, generated.select(keys[:_SHOWN]))
        return copy_figures(train_images, generated, torch.get_num_threads())

    return Inspection(wanted.every, look, stop=_limit(wanted.stop_above))


def _limit(most: float | None) -> Callable[[dict[str, float]], str | None]:
    def stop(figures: dict[str, float]) -> str | None:
        if most is None or figures["copy_rate"] <= most:
            return None
        return f"{figures['copy_rate']:.1%} of generated images are copies, more than ldm.memorization.stop_above {most:.1%}"

    return stop
