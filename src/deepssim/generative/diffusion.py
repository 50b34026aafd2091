"""The latent diffusion model: MONAI's UNet, its noise schedule and its training.

Not here: latents (latents.py), conditions (conditioning.py), drawing images from the trained model (sampling.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from deepssim.choices import Conditioning, Device, Duplication
from deepssim.config import LdmConfig, TrackingConfig, parse_config
from deepssim.errors import DataError, readable
from deepssim.generative.latents import Latents, pad
from deepssim.processes import Processes
from deepssim.seeds import numpy_generator
from deepssim.settings import as_settings
from deepssim.training import Batched, Trained, train, with_decay
from deepssim.training_callbacks import TRAIN_LOSS, VALID_LOSS, Inspection
from deepssim.weights import about, load_weights, rebuild, save_weights

KIND = "diffusion"
_FACTS = ("latent_channels", "condition_features", "latent_scale")  # kept beside the options in a weight file
NO_CONDITION = 0.0  # value of all entries of a condition that is left out; attention to it adds a constant


def build_unet(options: LdmConfig, latent_channels: int, condition_features: int = 0) -> DiffusionModelUNet:
    """Build the noise predictor (arXiv:2509.16582).

    Args:
        options: section `ldm`.
        latent_channels: channels in and out.
        condition_features: values per token that cross-attention reads; 0 without conditioning.
    """
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
        with_conditioning=condition_features > 0,
        cross_attention_dim=condition_features or None,
        # monai-generative never applied this projection without conditioning; without it its checkpoints load.
        include_fc=condition_features > 0,
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
    """Predict the noise in scaled, padded latents (N, C, h, w), told a condition (N, T, D) where there is one.

    The loss is the mean squared error over uniform time steps.
    """

    def __init__(self, options: LdmConfig, latent_channels: int, condition_features: int = 0) -> None:
        super().__init__()
        self.options = options
        self.network = build_unet(options, latent_channels, condition_features)
        self.noise_schedule = DDPMScheduler(**schedule_arguments(options))

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch."""
        latents, *context = batch
        if context and self.options.condition_dropout:
            told = torch.rand(len(latents)).to(latents.device) >= self.options.condition_dropout
            context = [torch.where(told[:, None, None], context[0], NO_CONDITION)]
        return self._loss(latents, *context, name=TRAIN_LOSS)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Log and return the loss of one batch, with the same noise and time steps at every validation."""
        return self._loss(*batch, name=VALID_LOSS)

    def configure_optimizers(self) -> Any:
        """AdamW, as in the paper."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.options.learning_rate, fused=True)
        return with_decay(self, optimizer, self.options)

    def _loss(self, latents: Tensor, context: Tensor | None = None, *, name: str) -> Tensor:
        # Drawn on the CPU, so that a GPU run sees the same noise.
        noise = torch.randn(latents.shape).to(latents)
        steps = torch.randint(self.options.timesteps, (len(latents),)).to(latents.device)
        noisy = self.noise_schedule.add_noise(latents, noise, steps)
        loss = F.mse_loss(self.network(noisy, timesteps=steps, context=context).float(), noise)
        self.log(name, loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(latents))
        return loss


def draw_copies(keys: Sequence[str], options: LdmConfig, seed: int) -> list[int]:
    """Draw how often each training image occurs in an epoch; it depends on `seed` and the image's key only."""
    most = {Duplication.LOW: 4, Duplication.HIGH: 14}  # arXiv:2509.16582
    if options.duplication in most:
        return [
            int(numpy_generator(seed, "duplication", key).integers(1, most[options.duplication] + 1)) for key in keys
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
    tracking: TrackingConfig | None = None,
    processes: Processes | None = None,
) -> tuple[DiffusionModelUNet, Trained]:
    """Train the diffusion model on latents of real images.

    Args:
        train_latents: latents of the train split, each once; `options` say how often they occur.
        valid_latents: latents of the valid split; may be empty.
        options: section `ldm`.
        seed, device, state, inspection, tracking, processes: see `training.train`.
        initial: weights to start from; random ones unless given.

    Raises:
        DataError: if `options` ask for conditioning and the latents have no conditions, or the other way round.
    """
    features = condition_features(train_latents, options)
    torch.manual_seed(seed)  # initial weights
    module = LdmTraining(options, train_latents.values.shape[1], features)
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
        tracking=tracking,
        processes=processes,
    )
    return module.network, trained


def condition_features(latents: Latents, options: LdmConfig) -> int:
    """Return how many values the conditions have, 0 without conditioning.

    Raises:
        DataError: if latents and options do not fit.
    """
    features = 0 if latents.conditions is None else latents.conditions.shape[2]
    if (features > 0) is not (options.conditioning is not Conditioning.NONE):
        raise DataError(
            f"latents have {features} condition values, but ldm.conditioning is {options.conditioning.value!r}; encode the "
            "latents again with this config"
        )
    return features


def save_unet(path: str | Path, network: DiffusionModelUNet, options: LdmConfig, scale: float) -> None:
    """Write weights with the options to rebuild the network, and the scale of the latents that it was trained on."""
    facts = dict(zip(_FACTS, (network.in_channels, condition_width(network), scale), strict=True))
    save_weights(path, network, KIND, as_settings(options) | facts)


def trained_scale(path: str | Path) -> float | None:
    """Return the scale of the latents that a noise predictor was trained on; None for files of other programs."""
    return about(path).get("options", {}).get(_FACTS[2])


def condition_width(network: DiffusionModelUNet) -> int:
    """Return how many values per token the network's cross-attention reads, 0 if it has none."""
    keys = [value for name, value in network.state_dict().items() if name.endswith("attn2.to_k.weight")]
    return keys[0].shape[1] if keys else 0


def load_unet(path: str | Path) -> tuple[DiffusionModelUNet, LdmConfig]:
    """Rebuild the noise predictor from its file, in evaluation mode on the CPU, with the options of its training.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    weights, settings = load_weights(path, KIND)
    with readable(path, "a diffusion model"):
        channels, features, _ = (settings.pop(name) for name in _FACTS)
    options = parse_config({"ldm": settings}).ldm
    layers = options.residual_blocks * len(options.channels)
    return rebuild(path, weights, layers, lambda: build_unet(options, channels, features)), options


def _prepared(latents: Latents, divisor: int) -> list[Tensor]:
    values = pad(torch.from_numpy(latents.values) * latents.scale, divisor)
    return [values] if latents.conditions is None else [values, torch.from_numpy(latents.conditions)]
