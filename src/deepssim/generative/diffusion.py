"""The latent diffusion model: MONAI's UNet, its noise schedule and its training.

Not here: latents (latents.py), conditions (conditioning.py), drawing images from the trained model (sampling.py).
"""

from pathlib import Path

from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

from deepssim.config.base import as_settings
from deepssim.config.choices import Conditioning
from deepssim.config.generative import LdmConfig
from deepssim.config.settings import parse_config
from deepssim.errors import DataError, readable
from deepssim.generative.latents import Latents
from deepssim.runtime.weights import about, load_weights, rebuild, save_weights

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
