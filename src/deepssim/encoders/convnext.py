"""ConvNeXt of any size, the backbone that needs no pretrained model.

Names of layers, initial weights and results are those of `ConvNextModel` of the library transformers, which takes seconds to
import.

Not here: pooling and pretrained models (backbones.py).

Source: arXiv:2201.03545.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-6  # of all layer norms
_LAYER_SCALE = 1e-6  # initial scale of the residual branch of a block
_DEVIATION = 0.02  # standard deviation of initial weights


class Features(NamedTuple):
    """Output with the attribute of transformers' vision models that is used here."""

    last_hidden_state: Tensor


class ConvNext(nn.Module):
    """ConvNeXt without its classifier.

    Args:
        depths: blocks per stage.
        widths: channels per stage.
        patch_size: side of the patches that the first layer embeds, in pixels.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int], patch_size: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            model_type="convnext", num_channels=3, patch_size=patch_size, hidden_sizes=list(widths)
        )
        self.embeddings = _Stem(widths[0], patch_size)
        self.encoder = _Stages(depths, widths)
        # On the meta device there are no values to draw, and trying would import torch's compiler, which takes a second.
        if not self.embeddings.patch_embeddings.weight.is_meta:
            self._draw_weights()

    def _draw_weights(self) -> None:
        # In the order of transformers, which determines the random numbers.
        for module in (*self.encoder.modules(), *self.embeddings.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=_DEVIATION)
                nn.init.constant_(module.bias, 0.0)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Features:
        """Return the last feature map.

        Args:
            images: float32 (N, 3, H, W).

        Returns:
            float32 (N, C, h, w), with C channels of the last stage and h = H / (8 * patch_size).
        """
        return Features(self.encoder(self.embeddings(images)))


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Stem(nn.Module):
    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.patch_embeddings = nn.Conv2d(3, width, patch_size, stride=patch_size)
        self.layernorm = _ChannelNorm(width, eps=_EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        return self.layernorm(self.patch_embeddings(images))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.layernorm = nn.LayerNorm(width, eps=_EPSILON)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.layer_scale_parameter = nn.Parameter(torch.full((width,), _LAYER_SCALE))

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.layernorm(self.dwconv(maps).permute(0, 2, 3, 1))
        inner = self.layer_scale_parameter * self.pwconv2(F.gelu(self.pwconv1(inner)))
        return maps + inner.permute(0, 3, 1, 2)


class _Stage(nn.Module):
    def __init__(self, width_before: int | None, width: int, depth: int) -> None:
        super().__init__()
        halving = (
            []
            if width_before is None
            else [_ChannelNorm(width_before, eps=_EPSILON), nn.Conv2d(width_before, width, 2, stride=2)]
        )
        self.downsampling_layer = nn.Sequential(*halving)
        self.layers = nn.Sequential(*(_Block(width) for _ in range(depth)))

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(self.downsampling_layer(maps))


class _Stages(nn.Module):
    def __init__(self, depths: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        before = [None, *widths[:-1]]
        self.stages = nn.ModuleList(_Stage(*sizes) for sizes in zip(before, widths, depths, strict=True))

    def forward(self, maps: Tensor) -> Tensor:
        for stage in self.stages:
            maps = stage(maps)
        return maps
