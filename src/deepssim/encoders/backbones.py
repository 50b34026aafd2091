"""Backbones, which turn an image into features: a ConvNeXt of any size, or a vision model of the library transformers.

Not here: preprocessing and the head (deepssim.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.config.encoders import EncoderConfig
from deepssim.encoders.convnext import ConvNext
from deepssim.errors import ConfigError

_STEMS = ("embeddings", "embedder", "patch_embed")
_STAGES = ("encoder.stages", "encoder.layers", "encoder.layer", "layers", "stages")


def in_cache(images: Tensor, most: int) -> Sequence[Tensor]:
    """Divide a batch into parts whose intermediate results fit into a processor's cache, where that is faster.

    That is without gradients and on a processor, where large intermediate results cost more time than the arithmetic.

    Args:
        images: of any shape (N, ...).
        most: images in a part.
    """
    if images.device.type != "cpu" or torch.is_grad_enabled() or torch.jit.is_tracing() or len(images) <= most:
        return [images]
    return images.split(most)


class Backbone(nn.Module):
    """Vision model with global average pooling of its last feature map.

    Args:
        model: vision model of transformers, or one with the same interface.
        frozen_stages: number of stages after the stem that are frozen together with the stem; 0 freezes nothing.

    Raises:
        ConfigError: if the model has fewer stages.
    """

    def __init__(self, model: nn.Module, *, frozen_stages: int = 0) -> None:
        super().__init__()
        self.model = model
        config: Any = model.config
        sizes = getattr(config, "hidden_sizes", None)
        self.width: int = sizes[-1] if sizes else config.hidden_size
        # The position embeddings of a transformer fix its image size; convolutions take any.
        self.side = getattr(config, "image_size", None) if hasattr(config, "num_attention_heads") else None
        self.patch: int = getattr(config, "patch_size", 1)
        _drop_unused(model)
        if frozen_stages:
            _freeze(model, frozen_stages)

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean over all positions of the last feature map.

        Args:
            images: float32 (N, 3, H, W), z-scored.

        Returns:
            float32 (N, `width`).
        """
        if self.side:
            images = F.interpolate(images, size=(self.side, self.side), mode="bicubic", antialias=True)
        maps = self.model(images).last_hidden_state
        return maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps.mean(dim=1)

    @property
    def min_side(self) -> int:
        """Smallest image side in pixels whose last feature map is not empty."""
        return 1 if self.side else self.patch * 8  # three stages halve the map of the first layer


def build_backbone(options: EncoderConfig) -> Backbone:
    """Build a ConvNeXt with random weights, or load the pretrained model that section `encoder` names.

    Raises:
        ConfigError: if the model cannot be loaded or does not take colour images.
    """
    if options.backbone is None:
        network = ConvNext(options.depths, options.widths, options.patch_size)
        return Backbone(network, frozen_stages=options.frozen_stages)
    from transformers import AutoModel  # seconds to import, and the ConvNeXt does not need it

    try:
        model: Any = AutoModel.from_pretrained(options.backbone, local_files_only=Path(options.backbone).is_dir())
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"encoder.backbone {options.backbone!r} cannot be loaded ({' '.join(str(error).split())[:200]}); name a folder "
            "with config.json and weights of a vision model of transformers, or a model on the hub"
        ) from None
    vision = getattr(model, "vision_model", model)  # image tower of a model for images and text
    if not hasattr(vision.config, "num_channels") or vision.config.num_channels != 3:
        raise ConfigError(f"encoder.backbone {options.backbone!r} does not take colour images; name a vision model")
    return Backbone(vision, frozen_stages=options.frozen_stages)


def architecture(backbone: Backbone) -> dict[str, Any]:
    """Return the configuration from which `rebuild_backbone` rebuilds a backbone, weights excluded."""
    return {"model_type": backbone.model.config.model_type, **backbone.model.config.to_diff_dict()}  # type: ignore[operator, union-attr]


def layer_count(settings: dict[str, Any]) -> int:
    """Return the number of layers in a configuration returned by `architecture`."""
    depths = settings.get("depths")
    return sum(depths) if depths else int(settings.get("num_hidden_layers", 0))


def rebuild_backbone(settings: dict[str, Any]) -> Backbone:
    """Build a backbone with random weights from a configuration returned by `architecture`."""
    from transformers import AutoConfig, AutoModel

    values = dict(settings)
    return Backbone(AutoModel.from_config(AutoConfig.for_model(values.pop("model_type"), **values)))


def _drop_unused(model: Any) -> None:
    """Remove the layers of the model's own pooling, which are not used here."""
    if model.config.model_type.startswith("convnext"):
        model.layernorm = nn.Identity()
    elif isinstance(getattr(model, "pooler", None), nn.Module) and next(model.pooler.parameters(), None) is not None:
        model.pooler = None


def _freeze(model: Any, stages: int) -> None:
    """Freeze the stem and the first stages as modules, since parameter names differ between models."""
    stem = next((getattr(model, name) for name in _STEMS if hasattr(model, name)), None)
    found = next((layers for layers in (_module_list(model, path) for path in _STAGES) if layers is not None), None)
    if stem is None or found is None or len(found) < stages:
        raise ConfigError(
            f"encoder.frozen_stages is {stages}, but {type(model).__name__} has {len(found) if found is not None else 'no'} "
            "stages that can be frozen; lower encoder.frozen_stages"
        )
    for part in (stem, *list(found)[:stages]):
        part.requires_grad_(False)


def _module_list(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name, None)
    return model if isinstance(model, nn.ModuleList) else None
