"""The latent diffusion model: MONAI's UNet and its noise schedule.

Not here: latents (latents.py), conditions (conditioning.py), training (diffusion_training.py), sampling (sampling.py).
"""

from pathlib import Path

from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

from deepssim.config.base import as_settings
from deepssim.config.choices import Conditioning, Orientation
from deepssim.config.generative import LdmConfig
from deepssim.config.settings import parse_config
from deepssim.errors import DataError, readable
from deepssim.generative.latents import Latents
from deepssim.runtime.weights import load_weights, read_metadata, rebuild, save_weights, spatial_dims_of

KIND = "diffusion"
_EXTRA_OPTIONS = ("latent_channels", "condition_features", "latent_scale")  # stored beside section `ldm`
NO_CONDITION = 0.0  # value of all entries of a dropped condition; attention to it adds a constant


def build_unet(
    options: LdmConfig, latent_channels: int, condition_features: int = 0, spatial_dims: int = 2
) -> DiffusionModelUNet:
    """Build the noise predictor (arXiv:2509.16582).

    Args:
        options: section `ldm`.
        latent_channels: channels in and out.
        condition_features: values per token of the condition; 0 without conditioning.
        spatial_dims: 2 for latents of images, 3 for those of volumes.
    """
    return DiffusionModelUNet(
        spatial_dims=spatial_dims,
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
        # monai-generative never applied this projection without conditioning; networks without it load its checkpoints.
        include_fc=condition_features > 0,
    )


def schedule_arguments(options: LdmConfig) -> dict[str, float | int | str | bool]:
    """Return the arguments of MONAI's noise schedulers that training and sampling share."""
    return {
        "num_train_timesteps": options.timesteps,
        "schedule": "scaled_linear_beta",
        "beta_start": options.beta_start,
        "beta_end": options.beta_end,
        "clip_sample": False,
    }


def size_divisor(options: LdmConfig) -> int:
    """Return the number by which each side of latents must be divisible."""
    return 2 ** (len(options.channels) - 1)


def condition_features(latents: Latents, options: LdmConfig) -> int:
    """Return the number of values per token of the conditions, 0 without conditioning.

    Args:
        latents: latents with or without conditions.
        options: section `ldm`.

    Raises:
        DataError: if only one of latents and options has conditions.
    """
    features = 0 if latents.conditions is None else latents.conditions.shape[2]
    if (features > 0) is not (options.conditioning is not Conditioning.NONE):
        raise DataError(
            f"latents have {features} condition values, but ldm.conditioning is {options.conditioning.value!r}; encode the "
            "latents again with this config"
        )
    return features


def save_unet(
    path: str | Path,
    network: DiffusionModelUNet,
    options: LdmConfig,
    scale: float,
    orientation: Orientation = Orientation.UPRIGHT,
) -> None:
    """Write the weights of a noise predictor to a safetensors file.

    Args:
        path: file to write.
        network: noise predictor.
        options: section `ldm`, stored to rebuild the network.
        scale: factor of the latents that it was trained on.
        orientation: of the images whose latents it was trained on.
    """
    extra = dict(zip(_EXTRA_OPTIONS, (network.in_channels, condition_width(network), scale), strict=True))
    save_weights(path, network, KIND, as_settings(options) | extra, orientation)


def trained_scale(path: str | Path) -> float | None:
    """Return the factor of the latents that a noise predictor was trained on; None for files of other programs."""
    return read_metadata(path).get("options", {}).get(_EXTRA_OPTIONS[2])


def condition_width(network: DiffusionModelUNet) -> int:
    """Return the number of values per token that the network's cross-attention takes, 0 if it has none."""
    keys = [value for name, value in network.state_dict().items() if name.endswith("attn2.to_k.weight")]
    return keys[0].shape[1] if keys else 0


def load_unet(path: str | Path) -> tuple[DiffusionModelUNet, LdmConfig]:
    """Rebuild the noise predictor from its file, in evaluation mode on the CPU, with the options of its training.

    Raises:
        DataError: if the file is damaged or of another kind.
    """
    weights, settings = load_weights(path, KIND)
    with readable(path, "a diffusion model"):
        channels, features, _ = (settings.pop(name) for name in _EXTRA_OPTIONS)
    options = parse_config({"ldm": settings}).ldm
    layers = options.residual_blocks * len(options.channels)
    return rebuild(
        path, weights, layers, lambda: build_unet(options, channels, features, spatial_dims_of(weights))
    ), options
