"""The latent diffusion model: MONAI's UNet, its noise schedule and its training.

Not here: latents (latents.py), drawing images from the trained model (sampling.py).
"""

from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from deepssim.config import Device, LdmConfig, parse_config
from deepssim.generative.latents import Latents, pad
from deepssim.settings import as_settings
from deepssim.training import TRAIN_LOSS, VALID_LOSS, Batched, Trained, train, with_decay
from deepssim.weights import load_weights, save_weights

KIND = "diffusion"


def build_unet(options: LdmConfig, latent_channels: int) -> DiffusionModelUNet:
    """Build the noise predictor, without conditioning (arXiv:2509.16582)."""
    return DiffusionModelUNet(
        spatial_dims=2,
        in_channels=latent_channels,
        out_channels=latent_channels,
        channels=options.channels,
        attention_levels=options.attention_levels,
        num_head_channels=tuple(options.heads_at(level) for level in range(len(options.channels))),
        num_res_blocks=options.residual_blocks,
        norm_num_groups=options.norm_groups,
        resblock_updown=True,
        # monai-generative never applied this projection without conditioning; without it its checkpoints load.
        include_fc=False,
    )


def schedule_arguments(options: LdmConfig) -> dict[str, float | int | str | bool]:
    """Return the arguments that noise schedules of training and sampling share."""
    return {
        "num_train_timesteps": options.timesteps,
        "schedule": "scaled_linear_beta",
        "beta_start": options.beta_start,
        "beta_end": options.beta_end,
        "clip_sample": False,
    }


def size_divisor(options: LdmConfig) -> int:
    """Return what height and width of latents must be divisible by."""
    return 2 ** (len(options.channels) - 1)


class LdmTraining(lightning.LightningModule):
    """Predict the noise in scaled, padded latents (N, C, h, w); mean squared error over uniform time steps."""

    def __init__(self, options: LdmConfig, latent_channels: int) -> None:
        super().__init__()
        self.options = options
        self.network = build_unet(options, latent_channels)
        self.noise_schedule = DDPMScheduler(**schedule_arguments(options))

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        return self._loss(batch[0], TRAIN_LOSS)

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch, with the same noise at every validation."""
        return self._loss(batch[0], VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """AdamW, as in the paper."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.options.learning_rate, fused=True)
        return with_decay(self, optimizer, self.options.decay)

    def _loss(self, latents: Tensor, name: str) -> Tensor:
        # Drawn on the CPU, so that a GPU run sees the same noise.
        noise = torch.randn(latents.shape).to(latents)
        steps = torch.randint(self.options.timesteps, (len(latents),)).to(latents.device)
        noisy = self.noise_schedule.add_noise(latents, noise, steps)
        loss = F.mse_loss(self.network(noisy, timesteps=steps).float(), noise)
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(latents))
        return loss


def train_diffusion(
    train_latents: Latents,
    valid_latents: Latents,
    options: LdmConfig,
    *,
    seed: int,
    device: Device,
    state: Path,
) -> tuple[DiffusionModelUNet, Trained]:
    """Train the diffusion model on latents of real images.

    Args:
        train_latents: latents of the train split.
        valid_latents: latents of the valid split; may be empty.
        options: section `ldm`.
        seed, device, state: see `training.train`.
    """
    torch.manual_seed(seed)  # initial weights
    module = LdmTraining(options, train_latents.values.shape[1])
    divisor = size_divisor(options)
    trained = train(
        module,
        Batched(_prepared(train_latents, divisor)),
        Batched(_prepared(valid_latents, divisor)) if valid_latents.keys else None,
        options=options,
        seed=seed,
        device=device,
        state=state,
    )
    return module.network, trained


def save_unet(path: str | Path, network: DiffusionModelUNet, options: LdmConfig) -> None:
    """Write weights with the options to rebuild the network."""
    save_weights(path, network, KIND, as_settings(options) | {"latent_channels": network.in_channels})


def load_unet(path: str | Path) -> tuple[DiffusionModelUNet, LdmConfig]:
    """Rebuild the noise predictor from its file, in evaluation mode on the CPU, with the options of its training.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    weights, settings = load_weights(path, KIND)
    latent_channels = settings.pop("latent_channels")
    options = parse_config({"ldm": settings}).ldm
    network = build_unet(options, latent_channels)
    network.load_state_dict(weights)
    return network.eval(), options


def _prepared(latents: Latents, divisor: int) -> Tensor:
    return pad(torch.from_numpy(latents.values) * latents.scale, divisor)
