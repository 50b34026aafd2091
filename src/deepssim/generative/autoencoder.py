"""The autoencoder between images and latents: MONAI's KL autoencoder and its training.

Not here: diffusion in latent space (diffusion.py), the trainer (training.py).
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.nets.autoencoderkl import AutoencoderKL
from torch import Tensor

from deepssim.config import Device, VaeConfig, parse_config
from deepssim.errors import ConfigError
from deepssim.images.packs import ImagePack
from deepssim.settings import as_settings
from deepssim.training import TRAIN_LOSS, VALID_LOSS, Batched, Trained, train, with_decay
from deepssim.weights import load_weights, save_weights

KIND = "autoencoder"


def build_autoencoder(options: VaeConfig) -> AutoencoderKL:
    """Build the network: 2D, one channel in and out, no attention (arXiv:2509.16582)."""
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


def kl_divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Divergence of the latent Gaussians from the standard one, summed over a latent and averaged over the batch.

    Args:
        mean: shape (N, C, h, w).
        deviation: standard deviation, same shape, positive.
    """
    per_value = 0.5 * (mean**2 + deviation**2 - 2 * torch.log(deviation) - 1)
    return per_value.flatten(1).sum(1).mean()


class VaeTraining(lightning.LightningModule):
    """Reconstruction (L1) plus weighted KL divergence; batches are float32 images (N, 1, H, W), 0 to 1."""

    def __init__(self, options: VaeConfig) -> None:
        super().__init__()
        self.options = options
        self.network = build_autoencoder(options)

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        return self._loss(batch[0], TRAIN_LOSS)

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        return self._loss(batch[0], VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """Adam, as in the paper."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.options.learning_rate, fused=True)
        return with_decay(self, optimizer, self.options.decay)

    def _loss(self, images: Tensor, name: str) -> Tensor:
        reconstruction, mean, deviation = self.network(images)
        l1 = F.l1_loss(reconstruction.float(), images)
        kl = kl_divergence(mean.float(), deviation.float())
        loss = l1 + self.options.kl_weight * kl
        figures = {name: loss, f"{name}_l1": l1, f"{name}_kl": kl}
        self.log_dict(figures, on_step=False, on_epoch=True, batch_size=len(images))
        return loss


def train_autoencoder(
    train_images: ImagePack,
    valid_images: ImagePack,
    options: VaeConfig,
    *,
    seed: int,
    device: Device,
    state: Path,
) -> tuple[AutoencoderKL, Trained]:
    """Train the autoencoder on real images.

    Args:
        train_images: images of the train split.
        valid_images: images of the valid split; may be empty.
        options: section `vae`.
        seed, device, state: see `training.train`.

    Raises:
        ConfigError: if the image size does not fit the number of levels.
    """
    check_size(train_images.images.shape[1:], options)
    torch.manual_seed(seed)  # initial weights
    module = VaeTraining(options)
    trained = train(
        module,
        Batched(to_tensor(train_images)),
        Batched(to_tensor(valid_images)) if valid_images.keys else None,
        options=options,
        seed=seed,
        device=device,
        state=state,
    )
    return module.network, trained


def save_autoencoder(path: str | Path, network: AutoencoderKL, options: VaeConfig) -> None:
    """Write weights with the options to rebuild the network."""
    save_weights(path, network, KIND, as_settings(options))


def load_autoencoder(path: str | Path) -> AutoencoderKL:
    """Rebuild the autoencoder from its file, in evaluation mode on the CPU.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    weights, options = load_weights(path, KIND)
    network = build_autoencoder(parse_config({"vae": options}).vae)
    network.load_state_dict(weights)
    return network.eval()


def check_size(size: tuple[int, ...], options: VaeConfig) -> None:
    """Raise a ConfigError if an image of (height, width) cannot be halved as often as the network does."""
    factor = 2 ** (len(options.channels) - 1)
    if any(side % factor for side in size):
        raise ConfigError(
            f"images of {size[0]}x{size[1]} cannot be halved {len(options.channels) - 1} times by the autoencoder; "
            f"set dataset.image_size to multiples of {factor} or give vae.channels fewer entries"
        )


def to_tensor(pack: ImagePack) -> Tensor:
    """Return the images as float32 (N, 1, H, W), 0 to 1."""
    return torch.from_numpy(pack.unit())[:, None]


@torch.inference_mode()
def encode(network: AutoencoderKL, pack: ImagePack, *, device: torch.device, batch_size: int = 64) -> np.ndarray:
    """Return the mean latent of every image, float32 (N, C, h, w)."""
    network = network.to(device).eval()
    images = to_tensor(pack)
    return torch.cat([network.encode(part.to(device))[0].cpu() for part in images.split(batch_size)]).numpy()


@torch.inference_mode()
def reconstruct(network: AutoencoderKL, pack: ImagePack, *, device: torch.device, batch_size: int = 64) -> np.ndarray:
    """Return every image after encoding and decoding, float32 (N, H, W), about 0 to 1."""
    network = network.to(device).eval()
    images = to_tensor(pack)
    return torch.cat([network.reconstruct(part.to(device))[:, 0].cpu() for part in images.split(batch_size)]).numpy()
