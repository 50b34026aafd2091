"""Train the diffusion model on latents: noise prediction with a mean squared error.

Not here: the network and its noise schedule (diffusion.py), the training driver (training/driver.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from deepssim.config.choices import Device, Duplication
from deepssim.config.generative import LdmConfig
from deepssim.config.training import TrackingConfig
from deepssim.generative.diffusion import NO_CONDITION, build_unet, condition_features, schedule_arguments, size_divisor
from deepssim.generative.latents import Latents, pad
from deepssim.runtime.processes import Processes
from deepssim.seeds import numpy_generator
from deepssim.training.callbacks import TRAIN_LOSS, VALID_LOSS, Inspection
from deepssim.training.driver import Batched, Trained, train, with_decay


class LdmTraining(lightning.LightningModule):
    """Minimise the mean squared error of the predicted noise over uniformly drawn time steps.

    Batches are scaled, padded latents, float32 (N, C, h, w) or (N, C, d, h, w), and their conditions, float32 (N, T, D), if there are any.

    Args:
        options: section `ldm`.
        latent_channels: channels of the latents.
        condition_features: values per token of a condition, 0 without conditioning.
        spatial_dims: 2 for latents of images, 3 for those of volumes.
    """

    def __init__(
        self, options: LdmConfig, latent_channels: int, condition_features: int = 0, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        self.options = options
        self.network = build_unet(options, latent_channels, condition_features, spatial_dims)
        self.noise_schedule = DDPMScheduler(**schedule_arguments(options))

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        latents, *context = batch
        if context and self.options.condition_dropout:
            kept = torch.rand(len(latents)).to(latents.device) >= self.options.condition_dropout
            context = [torch.where(kept[:, None, None], context[0], NO_CONDITION)]
        return self._loss(latents, *context, name=TRAIN_LOSS)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch, with the same noise and time steps at every validation."""
        return self._loss(*batch, name=VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """Return an AdamW optimiser, as in the paper."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.options.learning_rate, fused=True)
        return with_decay(self, optimizer, self.options)

    def _loss(self, latents: Tensor, context: Tensor | None = None, *, name: str) -> Tensor:
        # Drawn on the CPU, so that training on a GPU uses the same noise.
        noise = torch.randn(latents.shape).to(latents)
        steps = torch.randint(self.options.timesteps, (len(latents),)).to(latents.device)
        noisy = self.noise_schedule.add_noise(latents, noise, steps)
        loss = F.mse_loss(self.network(noisy, timesteps=steps, context=context).float(), noise)
        self.log(name, loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(latents))
        return loss


def draw_copies(keys: Sequence[str], options: LdmConfig, seed: int) -> list[int]:
    """Draw how often each training image occurs in an epoch.

    Args:
        keys: N image keys.
        options: section `ldm`.
        seed: the config's seed; an image's number depends on it and the image's key only.

    Returns:
        N positive numbers.
    """
    maximum = {Duplication.LOW: 4, Duplication.HIGH: 14}  # arXiv:2509.16582
    if options.duplication in maximum:
        return [
            int(numpy_generator(seed, "duplication", key).integers(1, maximum[options.duplication] + 1)) for key in keys
        ]
    return [options.duplication_factor] * len(keys)


def train_diffusion(
    train_latents: Latents,
    valid_latents: Latents,
    options: LdmConfig,
    *,
    seed: int,
    device: Device,
    state: Path,
    initial: dict[str, Tensor] | None = None,
    inspection: Inspection | None = None,
    observers: Sequence[Callback] = (),
    tracking: TrackingConfig | None = None,
    processes: Processes | None = None,
) -> tuple[DiffusionModelUNet, Trained]:
    """Train the diffusion model on latents of real images.

    Args:
        train_latents: latents of the train split, each once; duplication is applied here.
        valid_latents: latents of the valid split; may be empty.
        options: section `ldm`.
        seed: the config's seed.
        device: where to train.
        state: folder of the run, see `training.driver.train`.
        initial: state dict to start from; random weights unless given.
        inspection: see `monitoring.memorization_inspection`.
        observers: see `training.driver.train`.
        tracking: section `tracking`; TensorBoard only unless given.
        processes: number of processes; one unless given.

    Returns:
        The noise predictor in evaluation mode, on the CPU, and the outcome of its training.

    Raises:
        DataError: if only one of latents and options has conditions.
    """
    features = condition_features(train_latents, options)
    torch.manual_seed(seed)  # initial weights
    module = LdmTraining(options, train_latents.shape[0], features, train_latents.spatial_dims)
    if initial is not None:
        module.network.load_state_dict(initial)
    divisor = size_divisor(options)
    trained = train(
        module,
        Batched(*_prepared(train_latents, divisor), copies=draw_copies(train_latents.keys, options, seed)),
        Batched(*_prepared(valid_latents, divisor)) if valid_latents.keys else None,
        options=options,
        seed=seed,
        device=device,
        state=state,
        ema_decay=options.ema_decay,
        inspection=inspection,
        observers=observers,
        tracking=tracking,
        processes=processes,
    )
    return module.network, trained


def _prepared(latents: Latents, divisor: int) -> list[Tensor]:
    values = pad(torch.from_numpy(latents.values) * latents.scale, divisor)
    return [values] if latents.conditions is None else [values, torch.from_numpy(latents.conditions)]
