"""Draw synthetic images from a trained latent diffusion model.

Not here: the solvers (solvers.py), training (autoencoder_training.py, diffusion_training.py), writing image files
(images/tree.py).
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor
from tqdm import tqdm

from deepssim.config.choices import Intensity
from deepssim.config.generative import LdmConfig, SynthesisConfig
from deepssim.generative.diffusion import NO_CONDITION, size_divisor
from deepssim.generative.latents import Latents, crop, padding
from deepssim.generative.solvers import solver
from deepssim.images.keys import real_key, split_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise, stretch
from deepssim.runtime.devices import with_less_memory
from deepssim.seeds import torch_generator

logger = logging.getLogger(__name__)


@torch.inference_mode()
def generate(
    keys: Sequence[str],
    unet: DiffusionModelUNet,
    autoencoder: AutoencoderKL,
    *,
    latents: Latents,
    ldm: LdmConfig,
    options: SynthesisConfig,
    seed: int,
    device: torch.device,
    bit_depth: int,
) -> ImagePack:
    """Generate one image per key, deterministically from its initial noise; a batch may mix records.

    Args:
        keys: keys of the images to generate. An image's noise depends on `seed` and the key only, its condition on the
            record that the key names.
        unet: trained noise predictor.
        autoencoder: trained autoencoder, which decodes the latents.
        latents: latents of the records, for their size, scale and conditions.
        ldm: section `ldm` with the noise schedule and architecture of `unet`.
        options: section `synthesis`: solver, number of steps, guidance, intensities and batch size. Another batch size
            rounds differently and moves a few pixels by one grey level. It is halved where GPU memory is short, with a warning.
        seed: the config's seed.
        device: where to compute.
        bit_depth: 8 or 16 bits per pixel.

    Returns:
        The images in the order of `keys`.

    Raises:
        DataError: if a record has no condition.
        torch.OutOfMemoryError: if not even one image fits into GPU memory.
    """
    unet, autoencoder = unet.to(device).eval(), autoencoder.to(device).eval()
    divisor, size = size_divisor(ldm), latents.shape[1:]
    conditions = None
    if latents.conditions is not None:
        conditions = latents.select([real_key(split_key(key)[0]) for key in keys]).conditions

    def draw(batch_size: int) -> np.ndarray:
        images = []
        for start in tqdm(range(0, len(keys), batch_size), desc="generating", unit="batch", disable=None):
            # Every batch has the full size, so that an image's rounding errors do not depend on the number of images.
            rows = np.minimum(np.arange(start, start + batch_size), len(keys) - 1)
            noise = torch.stack([_noise(keys[row], latents.shape, divisor, seed) for row in rows]).to(device)
            context = None if conditions is None else torch.from_numpy(conditions[rows]).to(device)
            denoised = denoise(noise, unet, ldm, options, context) / latents.scale
            decoded = autoencoder.decode(crop(denoised, size, divisor))
            images.append(decoded[: len(keys) - start, 0].float().cpu().numpy())
        return np.concatenate(images)

    values = with_less_memory(draw, options.batch_size, "generating")
    # `quantise` clips values outside [0, 1], the range of the autoencoder's training images.
    return ImagePack(
        quantise(stretch(values) if options.intensity is Intensity.PER_IMAGE else values, bit_depth), list(keys)
    )


def denoise(
    noise: Tensor, unet: DiffusionModelUNet, ldm: LdmConfig, options: SynthesisConfig, context: Tensor | None = None
) -> Tensor:
    """Transform noise into scaled latents with a deterministic solver.

    Args:
        noise: standard normal, float32 (N, C, h, w) or (N, C, d, h, w).
        unet: noise predictor.
        ldm: section `ldm` with its noise schedule.
        options: solver, number of steps and guidance.
        context: conditions, float32 (N, T, D); None without conditioning.

    Returns:
        float32, same shape as `noise`.

    Raises:
        ConfigError: if the solver needs a package that is not installed.

    Source: solvers.py; Ho and Salimans, arXiv:2207.12598 (guidance).
    """
    latents = noise
    times, step = solver(ldm, options)
    for time in times:
        at = torch.full((len(latents),), time, device=latents.device)
        latents = step(_predict(unet, latents, at, options.guidance_scale, context), time, latents)
    return latents


def _predict(
    unet: DiffusionModelUNet, latents: Tensor, times: Tensor, guidance: float, context: Tensor | None
) -> Tensor:
    if context is None or guidance == 1:
        return unet(latents, timesteps=times, context=context)
    both = torch.cat([context, torch.full_like(context, NO_CONDITION)])
    conditional, unconditional = unet(torch.cat([latents, latents]), timesteps=times.repeat(2), context=both).chunk(2)
    return unconditional + guidance * (conditional - unconditional)


def _noise(key: str, latent_shape: tuple[int, ...], divisor: int, seed: int) -> Tensor:
    """Draw the standard normal noise of one image, padding included; on the CPU, so that it is the same for every device."""
    channels, *size = latent_shape
    added = padding(size, divisor)  # of the last axis first
    widths = [before + after for before, after in zip(added[::2], added[1::2], strict=True)]
    shape = (channels, *(side + width for side, width in zip(size, reversed(widths), strict=True)))
    return torch.randn(shape, generator=torch_generator(seed, "generate", key))
