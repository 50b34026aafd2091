"""The autoencoder between images and latents: MONAI's KL autoencoder, encoding and decoding.

Not here: its training (autoencoder_training.py), diffusion in latent space (diffusion.py).
"""

from pathlib import Path

import numpy as np
import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from torch import Tensor

from deepssim.config.base import as_settings
from deepssim.config.generative import VaeConfig
from deepssim.config.settings import parse_config
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.runtime.weights import load_weights, rebuild, save_weights
from deepssim.seeds import torch_generator

KIND = "autoencoder"


def build_autoencoder(options: VaeConfig) -> AutoencoderKL:
    """Build the network of section `vae`: 2D, one channel in and out, no attention (arXiv:2509.16582)."""
    levels = len(options.channels)
    return AutoencoderKL(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=options.channels,
        latent_channels=options.latent_channels,
        num_res_blocks=options.residual_blocks,
        norm_num_groups=options.norm_groups,
        attention_levels=(False,) * levels,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )


def save_autoencoder(path: str | Path, network: AutoencoderKL, options: VaeConfig) -> None:
    """Write the weights of an autoencoder to a safetensors file.

    Args:
        path: file to write.
        network: autoencoder.
        options: section `vae`, stored to rebuild the network.
    """
    save_weights(path, network, KIND, as_settings(options))


def load_autoencoder(path: str | Path) -> AutoencoderKL:
    """Rebuild the autoencoder from its file, in evaluation mode on the CPU.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    return load_autoencoder_with_options(path)[0]


def load_autoencoder_with_options(path: str | Path) -> tuple[AutoencoderKL, VaeConfig]:
    """Rebuild the autoencoder as `load_autoencoder` does, and return the options of its training, too."""
    weights, settings = load_weights(path, KIND)
    options = parse_config({"vae": settings}).vae
    layers = options.residual_blocks * len(options.channels)
    return rebuild(path, weights, layers, lambda: build_autoencoder(options)), options


def to_tensor(pack: ImagePack) -> Tensor:
    """Return the images of a pack as float32 (N, 1, H, W), 0 to 1."""
    return torch.from_numpy(pack.unit())[:, None]


@torch.inference_mode()
def encode(network: AutoencoderKL, pack: ImagePack, *, device: torch.device, batch_size: int = 64) -> np.ndarray:
    """Encode images.

    Args:
        network: autoencoder.
        pack: N images.
        device: where to compute.
        batch_size: images at a time.

    Returns:
        Mean of each image's latent distribution, float32 (N, C, h, w).
    """
    network = network.to(device).eval()
    images = to_tensor(pack)
    return torch.cat([network.encode(part.to(device))[0].cpu() for part in images.split(batch_size)]).numpy()


def reconstruct_pack(
    network: AutoencoderKL, pack: ImagePack, *, device: torch.device, noise: float = 0.0, seed: int = 0
) -> ImagePack:
    """Return a pack after encoding and decoding, with the same keys and bit depth.

    Args:
        network: autoencoder.
        pack: images.
        device: where to compute.
        noise: see `reconstruct`.
        seed: the config's seed.
    """
    decoded = reconstruct(network, pack, device=device, noise=noise, seed=seed)
    return ImagePack(quantise(decoded, pack.bit_depth), pack.keys)


@torch.inference_mode()
def reconstruct(
    network: AutoencoderKL,
    pack: ImagePack,
    *,
    device: torch.device,
    batch_size: int = 64,
    noise: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Encode and decode images.

    Args:
        network: autoencoder.
        pack: N images.
        device: where to compute.
        batch_size: images at a time.
        noise: standard deviation of Gaussian noise added to the latents, relative to theirs; it imitates the inexact latents
            of a diffusion model.
        seed: the config's seed; an image's noise depends on it and the image's key only.

    Returns:
        float32 (N, H, W), about 0 to 1.
    """
    network = network.to(device).eval()
    images = to_tensor(pack)
    if not noise:
        return torch.cat(
            [network.reconstruct(part.to(device))[:, 0].cpu() for part in images.split(batch_size)]
        ).numpy()
    latents = torch.from_numpy(encode(network, pack, device=device, batch_size=batch_size))
    drawn = [torch.randn(latents.shape[1:], generator=torch_generator(seed, "latents", key)) for key in pack.keys]
    latents = latents + noise * latents.std() * torch.stack(drawn)
    return torch.cat([network.decode(part.to(device))[:, 0].cpu() for part in latents.split(batch_size)]).numpy()
