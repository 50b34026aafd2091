"""The autoencoder between images and latents: MONAI's KL autoencoder, encoding and decoding.

Not here: its training (autoencoder_training.py), diffusion in latent space (diffusion.py).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from torch import Tensor

from deepssim.config.base import as_settings
from deepssim.config.choices import Orientation
from deepssim.config.generative import VaeConfig
from deepssim.config.settings import parse_config
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import oriented, quantise
from deepssim.runtime.devices import with_less_memory
from deepssim.runtime.weights import load_weights, rebuild, recorded_orientation, save_weights, spatial_dims_of
from deepssim.seeds import torch_generator

KIND = "autoencoder"


def build_autoencoder(options: VaeConfig, spatial_dims: int = 2) -> AutoencoderKL:
    """Build the network of section `vae`: one channel in and out, no attention (arXiv:2509.16582).

    Args:
        options: section `vae`.
        spatial_dims: 2 for images, 3 for volumes.
    """
    levels = len(options.channels)
    return AutoencoderKL(
        spatial_dims=spatial_dims,
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


def save_autoencoder(
    path: str | Path, network: AutoencoderKL, options: VaeConfig, orientation: Orientation = Orientation.UPRIGHT
) -> None:
    """Write the weights of an autoencoder to a safetensors file.

    Args:
        path: file to write.
        network: autoencoder.
        options: section `vae`, stored to rebuild the network.
        orientation: of the images that it was trained on.
    """
    save_weights(path, network, KIND, as_settings(options), orientation)


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
    return rebuild(path, weights, layers, lambda: build_autoencoder(options, spatial_dims_of(weights))), options


def require_orientation(path: str | Path, orientation: Orientation) -> None:
    """Check that a network of a generator was trained on images of an orientation.

    Args:
        path: autoencoder or diffusion model.
        orientation: of the images that it meets, `dataset.orientation`.

    Raises:
        DataError: if it was trained on images of the other orientation.
    """
    found = recorded_orientation(path)
    if found not in (orientation, None):
        raise DataError(
            f"{path}: was trained on {found} images, but dataset.orientation is {orientation.value}; "
            "set it to that of the weights, or train them anew"
        )


def require_same_orientation(
    autoencoder: str | Path, unet: str | Path, *, otherwise: Orientation | None = None
) -> None:
    """Check that the two networks of a generator were trained on images of one orientation.

    Args:
        autoencoder, unet: weight files.
        otherwise: orientation of a file that does not record one; None to accept any.

    Raises:
        DataError: if they were not.
    """
    recorded = [recorded_orientation(path) for path in (autoencoder, unet)]
    of_autoencoder, of_unet = (found or otherwise for found in recorded)
    if None not in (of_autoencoder, of_unet) and of_autoencoder is not of_unet:
        unknown = next((path for path, found in zip((autoencoder, unet), recorded, strict=True) if found is None), None)
        raise DataError(
            f"{unet}: was trained on latents of {of_unet} images, but {autoencoder} on {of_autoencoder} images; use the "
            "autoencoder that the diffusion model was trained with"
            + (f", or give --orientation, since {unknown} does not record one" if unknown else "")
        )


def to_tensor(pack: ImagePack) -> Tensor:
    """Return the images of a pack as float32 (N, 1, H, W), or (N, 1, D, H, W) of volumes, 0 to 1."""
    return torch.from_numpy(pack.unit())[:, None]


def _require_dimensions(network: AutoencoderKL, pack: ImagePack) -> None:
    found = spatial_dims_of(network.state_dict())
    if found != pack.spatial_dims:
        kinds = {2: "images", 3: "volumes"}
        raise DataError(
            f"the autoencoder was trained on {kinds[found]}, but the pack holds {kinds[pack.spatial_dims]}; use the autoencoder "
            "that was trained on them (dataset.spatial_dims)"
        )


@torch.inference_mode()
def encode(network: AutoencoderKL, pack: ImagePack, *, device: torch.device, batch_size: int = 64) -> np.ndarray:
    """Encode images.

    Args:
        network: autoencoder.
        pack: N images.
        device: where to compute.
        batch_size: images at a time.

    Returns:
        Mean of each image's latent distribution, float32 (N, C, h, w), or (N, C, d, h, w) of volumes.

    Raises:
        DataError: if the network is one of volumes and the pack holds images, or the other way round.
    """
    _require_dimensions(network, pack)
    network = network.to(device).eval()
    images = to_tensor(pack)
    return _by_batches(lambda part: network.encode(part)[0], images, device, batch_size, "encoding")


def reconstruct_pack(
    network: AutoencoderKL,
    pack: ImagePack,
    *,
    device: torch.device,
    noise: float = 0.0,
    seed: int = 0,
    orientation: Orientation = Orientation.UPRIGHT,
) -> ImagePack:
    """Return a pack after encoding and decoding, with the same keys and bit depth.

    Args:
        network: autoencoder.
        pack: images.
        device: where to compute.
        noise: see `reconstruct`.
        seed: the config's seed.
        orientation: that the network's images have and those of the pack do not: they are transposed for it, and back.
    """
    turned = ImagePack(oriented(pack.images, orientation), pack.keys)
    decoded = reconstruct(network, turned, device=device, noise=noise, seed=seed)
    return ImagePack(quantise(oriented(decoded, orientation), pack.bit_depth), pack.keys)


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
        float32, shape of the pack's images, about 0 to 1.

    Raises:
        DataError: as of `encode`.
    """
    _require_dimensions(network, pack)
    network = network.to(device).eval()
    images = to_tensor(pack)
    if not noise:
        return _by_batches(lambda part: network.reconstruct(part)[:, 0], images, device, batch_size, "reconstructing")
    latents = torch.from_numpy(encode(network, pack, device=device, batch_size=batch_size))
    drawn = [torch.randn(latents.shape[1:], generator=torch_generator(seed, "latents", key)) for key in pack.keys]
    latents = latents + noise * latents.std() * torch.stack(drawn)
    return _by_batches(lambda part: network.decode(part)[:, 0], latents, device, batch_size, "decoding")


def _by_batches(
    function: Callable[[Tensor], Tensor], items: Tensor, device: torch.device, batch_size: int, doing: str
) -> np.ndarray:
    """Apply a function to all items, batch by batch on the device, with smaller batches where its memory is short."""

    def apply(size: int) -> np.ndarray:
        return torch.cat([function(part.to(device)).cpu() for part in items.split(size)]).numpy()

    return with_less_memory(apply, batch_size, doing)
