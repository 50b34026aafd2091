"""The part of an encoder that turns an image into features: a ConvNeXt of any size, or a vision model of transformers.

Not here: what is done to images before and to features after (deepssim.py).
"""

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.config import EncoderConfig
from deepssim.errors import ConfigError

_STEMS = ("embeddings", "embedder", "patch_embed")
_STAGES = ("encoder.stages", "encoder.layers", "encoder.layer", "layers", "stages")


class Backbone(nn.Module):
    """A vision model and the average of its last feature map.

    Input: float32 (N, 3, H, W), z-scored. Output: float32 (N, `width`).

    Args:
        model: of transformers, for images.
        frozen_stages: how many stages after the stem keep their weights, together with the stem; 0 freezes nothing.

    Raises:
        ConfigError: if the model has no such stages.
    """

    def __init__(self, model: nn.Module, *, frozen_stages: int = 0) -> None:
        super().__init__()
        self.model = model
        config: Any = model.config
        sizes = getattr(config, "hidden_sizes", None)
        self.width: int = sizes[-1] if sizes else config.hidden_size
        # Transformers have learned where patches lie in an image of one size; convolutions take any.
        self.side = getattr(config, "image_size", None) if hasattr(config, "num_attention_heads") else None
        self.patch: int = getattr(config, "patch_size", 1)
        _drop_unused(model)
        if frozen_stages:
            _freeze(model, frozen_stages)

    def forward(self, images: Tensor) -> Tensor:
        """Return the mean over the places of the last feature map."""
        if self.side:
            images = F.interpolate(images, size=(self.side, self.side), mode="bicubic", antialias=True)
        maps = self.model(images).last_hidden_state
        return maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps.mean(dim=1)

    @property
    def least_side(self) -> int:
        """The smallest image that leaves something to average."""
        return 1 if self.side else self.patch * 8  # three stages halve what the first layer leaves


def build_backbone(options: EncoderConfig) -> Backbone:
    """Make the backbone that the settings name; a pretrained one is read from its folder or from the hub.

    Raises:
        ConfigError: if it cannot be loaded.
    """
    from transformers import AutoModel, ConvNextConfig, ConvNextModel

    if options.backbone is None:
        model: Any = ConvNextModel(
            ConvNextConfig(
                num_channels=3,
                patch_size=options.patch_size,
                hidden_sizes=list(options.widths),
                depths=list(options.depths),
            )
        )
        return Backbone(model, frozen_stages=options.frozen_stages)
    try:
        model = AutoModel.from_pretrained(options.backbone, local_files_only=Path(options.backbone).is_dir())
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"encoder.backbone {options.backbone!r} cannot be loaded ({' '.join(str(error).split())[:200]}); name a folder "
            "with config.json and weights of a vision model of transformers, or a model on the hub"
        ) from None
    vision = getattr(model, "vision_model", model)  # of models that read images and text
    if not hasattr(vision.config, "num_channels") or vision.config.num_channels != 3:
        raise ConfigError(f"encoder.backbone {options.backbone!r} reads no colour images; name a vision model")
    return Backbone(vision, frozen_stages=options.frozen_stages)


def architecture(backbone: Backbone) -> dict[str, Any]:
    """Return what rebuilds a backbone without its weights and without the hub."""
    return {"model_type": backbone.model.config.model_type, **backbone.model.config.to_diff_dict()}  # type: ignore[operator, union-attr]


def layers_of(settings: dict[str, Any]) -> int:
    """Return how many layers such settings ask for."""
    depths = settings.get("depths")
    return sum(depths) if depths else int(settings.get("num_hidden_layers", 0))


def rebuild_backbone(settings: dict[str, Any]) -> Backbone:
    """Build a backbone from what `architecture` returned; its weights are random."""
    from transformers import AutoConfig, AutoModel

    values = dict(settings)
    return Backbone(AutoModel.from_config(AutoConfig.for_model(values.pop("model_type"), **values)))


def _drop_unused(model: Any) -> None:
    """Remove layers that serve the model's own pooling, whose weights would never be used."""
    if model.config.model_type.startswith("convnext"):
        model.layernorm = nn.Identity()
    elif isinstance(getattr(model, "pooler", None), nn.Module) and next(model.pooler.parameters(), None) is not None:
        model.pooler = None


def _freeze(model: Any, stages: int) -> None:
    """Freeze the stem and the first stages, module by module: names of weights are no guide to where they lie."""
    stem = next((getattr(model, name) for name in _STEMS if hasattr(model, name)), None)
    found = next((layers for layers in (_reach(model, path) for path in _STAGES) if layers is not None), None)
    if stem is None or found is None or len(found) < stages:
        raise ConfigError(
            f"encoder.frozen_stages is {stages}, but {type(model).__name__} has {len(found) if found is not None else 'no'} "
            "stages that can be frozen; lower it"
        )
    for part in (stem, *list(found)[:stages]):
        part.requires_grad_(False)


def _reach(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name, None)
    return model if isinstance(model, nn.ModuleList) else None
