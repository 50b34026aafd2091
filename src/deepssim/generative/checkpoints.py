"""Load and write checkpoints of monai-generative 0.2.3 and of the DeepSSIM reference code.

MONAI's networks are those of monai-generative with some layers renamed. MONAI converts old names to new ones; the inverse
conversion is here.

Not here: this package's own weight files (runtime/weights.py).
"""

import contextlib
import io
import logging
from collections import OrderedDict
from pathlib import Path

import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor

from deepssim.config.choices import Orientation
from deepssim.config.generative import LdmConfig, VaeConfig
from deepssim.errors import DataError, readable
from deepssim.generative.autoencoder import KIND as AUTOENCODER
from deepssim.generative.autoencoder import build_autoencoder, load_autoencoder, load_autoencoder_with_options
from deepssim.generative.diffusion import KIND as DIFFUSION
from deepssim.generative.diffusion import build_unet, condition_features, load_unet, trained_scale
from deepssim.generative.latents import Latents
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.weights import read_metadata, read_state_dict, recorded_orientation, with_orientation

logger = logging.getLogger(__name__)

# Names of layers in MONAI and in monai-generative; the first that occurs in a key applies.
_RENAMED = (
    (".attn.out_proj.", ".proj_attn."),
    (".attn.to_", ".to_"),
    (".out_proj.", ".to_out.0."),
    (".postconv.", ".conv."),
)
_CROSS_ATTENTION = "transformer_blocks"


def load_any_autoencoder(path: str | Path, options: VaeConfig) -> tuple[AutoencoderKL, VaeConfig]:
    """Load an autoencoder of this package, of MONAI or of monai-generative.

    Args:
        path: weight file of this package, which includes the architecture, or a state dict.
        options: section `vae`, the architecture for a state dict.

    Returns:
        The network in evaluation mode, on the CPU, and the options of its training.

    Raises:
        DataError: if the weights do not fit.
    """
    if read_metadata(path).get("kind") == AUTOENCODER:
        return load_autoencoder_with_options(path)
    network = build_autoencoder(options)
    _load(network, path, "vae")
    return network.eval(), options


def load_any_unet(
    path: str | Path, options: LdmConfig, latent_channels: int, features: int
) -> tuple[DiffusionModelUNet, LdmConfig]:
    """Load a noise predictor of this package, of MONAI or of monai-generative.

    Args:
        path: weight file of this package, which includes the architecture, or a state dict.
        options: section `ldm`, the architecture for a state dict.
        latent_channels: channels of the latents.
        features: values per token of a condition, 0 without conditioning.

    Returns:
        The network in evaluation mode, on the CPU, and the options of its training.

    Raises:
        DataError: if the weights do not fit.
    """
    if read_metadata(path).get("kind") == DIFFUSION:
        return load_unet(path)
    network = build_unet(options, latent_channels, features)
    _load(network, path, "ldm")
    return network.eval(), options


def initial_unet_weights(path: str | Path, latents: Latents, options: LdmConfig) -> dict[str, Tensor]:
    """Read the weights from which a training run starts.

    Args:
        path: weight file, see `load_any_unet`.
        latents: latents to train on.
        options: section `ldm`.

    Returns:
        State dict of the noise predictor.

    Raises:
        DataError: if the weights do not fit the latents or the options.
    """
    features = condition_features(latents, options)
    return load_any_unet(path, options, latents.shape[0], features)[0].state_dict()


def _load(network: AutoencoderKL | DiffusionModelUNet, path: str | Path, section: str) -> None:
    weights = read_state_dict(path)
    expected = {_old_name(name): value.shape for name, value in network.state_dict().items()}
    expected |= {name: value.shape for name, value in network.state_dict().items() if name in weights}
    shapes = {name: value.shape for name, value in weights.items()}
    wrong = [name for name, shape in expected.items() if name in shapes and shapes[name] != shape]
    absent = [name for name in expected if name not in shapes and _new_name(name, network) not in shapes]
    unknown = [name for name in shapes if name not in expected and ".proj_attn." not in name]
    offenders = wrong or absent or unknown
    if offenders:
        name = offenders[0]
        problem = f"has shape {tuple(shapes[name])}" if name in shapes else "is missing"
        raise DataError(
            f"{path}: {len(wrong) + len(absent) + len(unknown)} of {len(shapes)} entries do not fit the network of section "
            f"{section!r}, first {name!r}, which {problem} (expected: "
            f"{tuple(expected[name]) if name in expected else 'no such entry'}); use the config of its training"
        )
    with contextlib.redirect_stdout(io.StringIO()), readable(path, f"weights of section {section!r}"):  # MONAI prints
        network.load_old_state_dict(weights)


def _old_name(name: str) -> str:
    """Return monai-generative's name of an entry."""
    for new, old in _RENAMED:
        if new in name and (old != ".to_out.0." or _CROSS_ATTENTION in name):
            return name.replace(new, old)
    return name


def _new_name(name: str, network: AutoencoderKL | DiffusionModelUNet) -> str:
    return next((new for new in network.state_dict() if _old_name(new) == name), name)


def export_weights(*, weights: str, output: str) -> None:
    """Convert a weight file of this package to a state dict for monai-generative 0.2.3.

    Args:
        weights: `autoencoder.safetensors` or `unet.safetensors`.
        output: file to write.

    Raises:
        DataError: if the file holds neither.
    """
    kind = read_metadata(weights).get("kind")
    if kind not in (AUTOENCODER, DIFFUSION):
        raise DataError(
            f"{weights}: holds neither an autoencoder nor a diffusion model of deepssim; name its safetensors file"
        )
    network: AutoencoderKL | DiffusionModelUNet
    if kind == AUTOENCODER:
        network = load_autoencoder(weights)
    else:
        network, options = load_unet(weights)
        if options.scale_latents:
            logger.warning(
                "%s was trained on latents multiplied by %.6g (ldm.scale_latents); apply the same factor in other programs",
                weights, trained_scale(weights),
            )  # fmt: skip
    with atomic_outputs({"exported": output}) as files:
        torch.save(to_generative(network, recorded_orientation(weights)), files["exported"])


def to_generative(
    network: AutoencoderKL | DiffusionModelUNet, orientation: Orientation | None
) -> OrderedDict[str, Tensor]:
    """Return the state dict of the same network in monai-generative 0.2.3.

    There, attention without conditioning has an additional projection, which is never applied; it becomes the identity.

    Args:
        network: autoencoder or noise predictor.
        orientation: of the images that it was trained on, which the state dict records; None if it is not known.
    """
    weights = {_old_name(name): value.detach().cpu() for name, value in network.state_dict().items()}
    for name, value in list(weights.items()):
        projection = name.replace(".to_q.", ".proj_attn.")
        if ".to_q." in name and _CROSS_ATTENTION not in name and projection not in weights:
            weights[projection] = torch.eye(len(value)) if value.ndim == 2 else torch.zeros_like(value)
    return OrderedDict(weights) if orientation is None else with_orientation(weights, orientation)
