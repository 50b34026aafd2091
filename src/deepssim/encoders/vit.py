"""Vision transformer (ViT) that returns its class token, with the layer names of the library timm.

Not here: the weights of a CLIP model (semdedup.py).

Source: arXiv:2010.11929.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-6  # of layer norms, as in timm


@dataclass(frozen=True)
class VitOptions:
    """Architecture of a ViT.

    Attributes:
        width: length of a token.
        depth: number of blocks.
        heads: of the attention; they divide `width`.
        hidden: width of the hidden layer of a block.
        side: height and width of an image in pixels.
        patch: side of a patch in pixels; it divides `side`.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    side: int
    patch: int


class Vit(nn.Module):
    """ViT without a classifier.

    Args:
        options: its architecture.
    """

    def __init__(self, options: VitOptions) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, options.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (options.side // options.patch) ** 2, options.width))
        self.patch_embed = _PatchEmbedding(options)
        self.blocks = nn.Sequential(*(_Block(options) for _ in range(options.depth)))
        self.norm = nn.LayerNorm(options.width, eps=_EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token of every image.

        Args:
            images: float32 (N, 3, side, side).

        Returns:
            float32 (N, width).
        """
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), self.patch_embed(images)], dim=1)
        return self.norm(self.blocks(tokens + self.pos_embed))[:, 0]


class _PatchEmbedding(nn.Module):
    def __init__(self, options: VitOptions) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, options.width, options.patch, stride=options.patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).mT


class _Block(nn.Module):
    def __init__(self, options: VitOptions) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(options.width, eps=_EPSILON)
        self.attn = _Attention(options)
        self.norm2 = nn.LayerNorm(options.width, eps=_EPSILON)
        self.mlp = _Mlp(options)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _Attention(nn.Module):
    def __init__(self, options: VitOptions) -> None:
        super().__init__()
        self.heads = options.heads
        self.qkv = nn.Linear(options.width, 3 * options.width)
        self.proj = nn.Linear(options.width, options.width)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, options: VitOptions) -> None:
        super().__init__()
        self.fc1 = nn.Linear(options.width, options.hidden)
        self.fc2 = nn.Linear(options.hidden, options.width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))
