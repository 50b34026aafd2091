"""Draw synthetic images from a trained latent diffusion model.

Not here: training (autoencoder.py, diffusion.py), writing image files (images/tree.py).
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers import DDIMScheduler
from torch import Tensor
from tqdm import tqdm

from deepssim.config import LdmConfig, SynthesisConfig
from deepssim.generative.diffusion import schedule_arguments, size_divisor
from deepssim.generative.latents import crop, padding
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise, stretch
from deepssim.seeds import torch_generator

logger = logging.getLogger(__name__)


@torch.inference_mode()
def generate(
    keys: Sequence[str],
    unet: DiffusionModelUNet,
    autoencoder: AutoencoderKL,
    *,
    latent_shape: tuple[int, int, int],
    scale: float,
    ldm: LdmConfig,
    options: SynthesisConfig,
    seed: int,
    device: torch.device,
    bit_depth: int,
) -> ImagePack:
    """Generate one image per key with deterministic DDIM; a batch mixes records.

    Args:
        keys: of the images to make; the noise that an image starts from depends on `seed` and its key only.
        unet: trained noise predictor.
        autoencoder: turns latents into images.
        latent_shape: (C, h, w) of one latent, without padding.
        scale: factor between encoder output and what `unet` was trained on.
        ldm: noise schedule and depth of `unet`.
        options: number of steps and batch size.
        seed: the config's seed.
        device: where to compute.
        bit_depth: 8 or 16; each image's own minimum and maximum become 0 and the largest value.

    Returns:
        The images in the order of `keys`.
    """
    unet, autoencoder = unet.to(device).eval(), autoencoder.to(device).eval()
    images = []
    for start in tqdm(range(0, len(keys), options.batch_size), desc="generating", unit="batch", disable=None):
        batch = list(keys[start : start + options.batch_size])
        # Every batch has the full size, so that an image's rounding errors do not depend on how many come with it.
        filled = batch + batch[-1:] * (options.batch_size - len(batch))
        noise = torch.stack([_noise(key, latent_shape, size_divisor(ldm), seed) for key in filled]).to(device)
        latents = denoise(noise, unet, ldm, options.sampler_steps) / scale
        decoded = autoencoder.decode(crop(latents, latent_shape[1:], size_divisor(ldm)))
        images.append(decoded[: len(batch), 0].float().cpu().numpy())
    return ImagePack(quantise(stretch(np.concatenate(images)), bit_depth), list(keys))


def denoise(latents: Tensor, unet: DiffusionModelUNet, ldm: LdmConfig, steps: int) -> Tensor:
    """Turn noise (N, C, h, w) into scaled latents by deterministic DDIM (Song et al., arXiv:2010.02502)."""
    schedule = DDIMScheduler(**schedule_arguments(ldm))
    schedule.set_timesteps(min(steps, ldm.timesteps), device=latents.device)
    for step in schedule.timesteps:
        predicted = unet(latents, timesteps=step.repeat(len(latents)))
        latents, _ = schedule.step(predicted, int(step), latents)
    return latents


def _noise(key: str, latent_shape: tuple[int, int, int], divisor: int, seed: int) -> Tensor:
    """Draw the standard normal noise of one image, padding included; on the CPU, so that every device starts alike."""
    channels, *size = latent_shape
    left, right, top, bottom = padding(size, divisor)
    shape = (channels, size[0] + top + bottom, size[1] + left + right)
    return torch.randn(shape, generator=torch_generator(seed, "generate", key))
