"""Train the autoencoder: reconstruction, KL, perceptual and adversarial losses.

Not here: the network, encoding and decoding (autoencoder.py), the training driver (training/driver.py).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from monai.losses.adversarial_loss import PatchAdversarialLoss
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn

from deepssim.config.choices import Device, MetricName
from deepssim.config.generative import VaeConfig
from deepssim.config.training import TrackingConfig
from deepssim.errors import ConfigError
from deepssim.generative.autoencoder import build_autoencoder, reconstruct_pack, to_tensor
from deepssim.generative.losses import kl_divergence, perceptual_loss
from deepssim.images.packs import ImagePack
from deepssim.images.sheets import save_pairs
from deepssim.metrics import METRICS
from deepssim.runtime.processes import Processes
from deepssim.similarity.tiles import pair_scores
from deepssim.training.callbacks import TRAIN_LOSS, VALID_LOSS, Inspection
from deepssim.training.driver import Batched, Trained, train, with_decay

_INSPECTED, _SHOWN = 64, 12  # images whose reconstructions are evaluated, and those shown in pictures


class VaeTraining(lightning.LightningModule):
    """L1 loss, KL divergence, a perceptual and an adversarial term; batches are float32 images (N, 1, H, W), or volumes
    (N, 1, D, H, W), 0 to 1.

    Args:
        options: section `vae`.
        spatial_dims: 2 for images, 3 for volumes.

    Source: arXiv:2509.16582 for the terms and their weights; arXiv:2112.10752 for the scheme.
    """

    # Lightning does not alternate between two optimisers by itself.
    automatic_optimization = False

    def __init__(self, options: VaeConfig, spatial_dims: int = 2) -> None:
        super().__init__()
        self.options = options
        self.network = build_autoencoder(options, spatial_dims)
        self.perceptual = perceptual_loss(options.perceptual, spatial_dims)
        self.discriminator = build_discriminator(options, spatial_dims) if options.adversarial_weight else None
        self.adversarial = PatchAdversarialLoss(criterion="least_squares")
        self.terms: dict[str, Tensor] = {}  # losses of the latest batch, by their names in the history

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        """Accumulate the gradients of one batch and take a step when the effective batch is complete."""
        images = batch[0]
        complete = (batch_idx + 1) % self.options.accumulate == 0 or self.trainer.is_last_batch
        optimizers = _as_list(self.optimizers())
        if self.discriminator is None:
            self.manual_backward(self._loss(images, TRAIN_LOSS)[0] / self.options.accumulate)
        else:
            self.toggle_optimizer(optimizers[0])
            loss, reconstruction = self._loss(images, TRAIN_LOSS)
            self.manual_backward((loss + self._generator_loss(reconstruction)) / self.options.accumulate)
            self.untoggle_optimizer(optimizers[0])
            self.toggle_optimizer(optimizers[1])
            self.manual_backward(self._discriminator_loss(images, reconstruction.detach()) / self.options.accumulate)
            self.untoggle_optimizer(optimizers[1])
        if complete:
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            for schedule in _as_list(self.lr_schedulers()):
                schedule.step()

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        """Log the loss without the adversarial term, which is not comparable between epochs as the discriminator learns."""
        self._loss(batch[0], VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """Return an Adam optimiser for each network, as in the paper."""
        networks = [self.network, *([self.discriminator] if self.discriminator is not None else [])]
        return [
            with_decay(
                self,
                torch.optim.Adam(network.parameters(), lr=self.options.learning_rate, fused=True),
                self.options,
            )
            for network in networks
        ]

    def _loss(self, images: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Log the terms other than the adversarial one; return their weighted sum and the reconstruction."""
        reconstruction, mean, deviation = self.network(images)
        reconstruction = reconstruction.float()
        l1 = F.l1_loss(reconstruction, images)
        kl = kl_divergence(mean.float(), deviation.float())
        loss = l1 + self.options.kl_weight * kl
        terms = {f"{name}_l1": l1, f"{name}_kl": kl}
        if self.perceptual is not None:
            perceptual = self.perceptual(reconstruction, images)
            loss = loss + self.options.perceptual_weight * perceptual
            terms[f"{name}_perceptual"] = perceptual
        self._log({name: loss} | terms, len(images))
        return loss, reconstruction

    def _generator_loss(self, reconstruction: Tensor) -> Tensor:
        assert self.discriminator is not None
        scores = self.discriminator(reconstruction)[-1].float()  # all but the last are intermediate features
        loss = self.adversarial(scores, target_is_real=True, for_discriminator=False)
        self._log({f"{TRAIN_LOSS}_adversarial": loss}, len(reconstruction))
        return self.options.adversarial_weight * loss

    def _discriminator_loss(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        assert self.discriminator is not None
        losses = [
            self.adversarial(self.discriminator(batch)[-1].float(), target_is_real=real, for_discriminator=True)
            for batch, real in ((reconstruction, False), (images, True))
        ]
        loss = (losses[0] + losses[1]) / 2
        self._log({f"{TRAIN_LOSS}_discriminator": loss}, len(images))
        return self.options.adversarial_weight * loss

    def _log(self, metrics: dict[str, Tensor], count: int) -> None:
        self.terms |= {name: value.detach() for name, value in metrics.items()}
        self.log_dict(metrics, on_step=False, on_epoch=True, sync_dist=True, batch_size=count)


def build_discriminator(options: VaeConfig, spatial_dims: int = 2) -> PatchDiscriminator:
    """Build the network of section `vae` that discriminates patches of images from patches of reconstructions.

    Args:
        options: section `vae`.
        spatial_dims: 2 for images, 3 for volumes.
    """
    return PatchDiscriminator(
        spatial_dims=spatial_dims,
        channels=options.discriminator_channels,
        in_channels=1,
        num_layers_d=options.discriminator_layers,
    )


def train_autoencoder(
    train_images: ImagePack,
    valid_images: ImagePack,
    options: VaeConfig,
    *,
    seed: int,
    device: Device,
    state: Path,
    observers: Sequence[Callback] = (),
    tracking: TrackingConfig | None = None,
    processes: Processes | None = None,
) -> tuple[AutoencoderKL, Trained]:
    """Train the autoencoder on real images.

    Args:
        train_images: images of the train split.
        valid_images: images of the valid split; may be empty.
        options: section `vae`.
        seed: the config's seed.
        device: where to train.
        state: folder of the run, see `training.driver.train`.
        observers: see `training.driver.train`.
        tracking: section `tracking`; TensorBoard only unless given.
        processes: number of processes; one unless given.

    Returns:
        The network in evaluation mode, on the CPU, and the outcome of its training, whose history has SSIM and PSNR of
        reconstructions beside the losses.

    Raises:
        ConfigError: if the networks do not accept this image size, or packages or weights of the perceptual term are missing.
    """
    check_size(train_images.images.shape[1:], options)
    torch.manual_seed(seed)  # initial weights
    module = VaeTraining(options, train_images.spatial_dims)
    trained = train(
        module,
        Batched(to_tensor(train_images)),
        Batched(to_tensor(valid_images)) if valid_images.keys else None,
        options=options,
        seed=seed,
        device=device,
        state=state,
        inspection=_inspection(valid_images if valid_images.keys else train_images, options),
        observers=observers,
        tracking=tracking,
        processes=processes,
    )
    return module.network, trained


def _inspection(images: ImagePack, options: VaeConfig) -> Inspection:
    """Evaluate reconstructions of some images at every validation, and save pictures of a few at times."""
    chosen = images.select(images.keys[:_INSPECTED])

    def inspect(network: nn.Module, picture: Path | None) -> dict[str, float]:
        device = next(network.parameters()).device
        decoded = reconstruct_pack(network, chosen, device=device)
        if picture:
            save_reconstructions(picture, chosen, decoded)
        return reconstruction_quality(chosen, decoded)

    return Inspection(options.validate_every, inspect, picture_every=options.pictures_every)


def reconstruction_quality(images: ImagePack, decoded: ImagePack) -> dict[str, float]:
    """Compare images with their reconstructions.

    Args:
        images: N images.
        decoded: their reconstructions, in the same order.

    Returns:
        `reconstruction_ssim`, mean of N scores (similarity/ssim.py), and `reconstruction_psnr_db`, from the mean squared
        error over all images.
    """
    comparison = METRICS[MetricName.SSIM].compare(images, decoded, 1, Device.CPU)
    rows = np.arange(len(images.keys))
    error = float(np.mean((images.unit() - decoded.unit()) ** 2))
    return {
        "reconstruction_ssim": float(pair_scores(comparison, rows, rows).mean()),
        "reconstruction_psnr_db": 10 * math.log10(1 / max(error, 1e-12)),
    }


def save_reconstructions(path: str | Path, images: ImagePack, decoded: ImagePack) -> None:
    """Save a picture of the first 12 images above their reconstructions.

    Args:
        path: PNG file to write.
        images: images.
        decoded: reconstructions with the same keys.
    """
    shown = images.keys[:_SHOWN]
    save_pairs(path, images.select(shown), decoded.select(shown), names=("image", "reconstruction"))


def check_size(size: tuple[int, ...], options: VaeConfig) -> None:
    """Check that the networks accept images of some size.

    Args:
        size: height and width in pixels, or slices, height and width.
        options: section `vae`.

    Raises:
        ConfigError: if the autoencoder cannot halve the size often enough, or the image is too small for the discriminator.
    """
    refusal = next(options.refusals(size), None)
    if refusal is not None:
        raise ConfigError(refusal)


def _as_list(value: Any) -> list[Any]:
    """Return optimisers or schedules as a list; Lightning gives none, one or a list of them."""
    return list(value) if isinstance(value, list) else [value] if value is not None else []
