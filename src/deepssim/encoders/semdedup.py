"""The image tower of a CLIP model: BiomedCLIP as open_clip publishes it, or any CLIP model of transformers.

BiomedCLIP's tower is timm's ViT-B/16 and a projection; the weights go into transformers' ViT under other names.

Not here: which files are trusted (published.py), the score between embeddings (similarity/embedding_scores.py).

Source: SemDeDup, arXiv:2303.09540, with BiomedCLIP, arXiv:2303.00915, as in arXiv:2509.16582.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection, ViTConfig, ViTModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from deepssim.choices import Device, MetricName, Precision
from deepssim.encoders.embeddings import Embeddings
from deepssim.encoders.published import embed_with, trusted_checksum
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.similarity.metrics import on_hub
from deepssim.weights import read_state_dict

_TRUNK, _PROJECTION = "visual.trunk.", "visual.head.proj.weight"
_HEAD_FEATURES = 64  # per attention head of every ViT that is published in this format
# timm's name of a layer, and transformers'.
_RENAMED = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "blocks": "layers",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.o_proj",
    "norm": "layernorm",
}


class BiomedClip(nn.Module):
    """ViT and projection: standardised colour images to (N, D)."""

    def __init__(self, options: ViTConfig, features: int) -> None:
        super().__init__()
        self.trunk = ViTModel(options, add_pooling_layer=False)
        self.projection = nn.Linear(options.hidden_size, features, bias=False)
        self.side = int(options.image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Project the class token of a batch."""
        return self.projection(self.trunk(pixel_values=images).last_hidden_state[:, 0])


class TransformersClip(nn.Module):
    """The same for a CLIP model of transformers."""

    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.model = model
        self.side = int(model.config.image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the projected embeddings of a batch."""
        return self.model(pixel_values=images).image_embeds


class Prepared(nn.Module):
    """Bring images to a tower's size and scale, as CLIP does: the shorter side resized (bicubic), the middle cut out."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, tower: BiomedClip | TransformersClip) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("mean", torch.tensor(OPENAI_CLIP_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(OPENAI_CLIP_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed images of 0 to 1, (N, 1, H, W)."""
        side = self.tower.side
        scale = side / min(images.shape[2:])
        size = [round(length * scale) for length in images.shape[2:]]
        large = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        top, left = ((length - side) // 2 for length in size)
        return self.tower((large[:, :, top : top + side, left : left + side] - self.mean) / self.deviation)


def load_open_clip(path: str | Path, trust: Sequence[str] = ()) -> tuple[BiomedClip, str]:
    """Load the image tower of an open_clip checkpoint whose trunk is a ViT of timm.

    Returns:
        The network in evaluation mode, on the CPU, and the file's SHA-256.

    Raises:
        DataError: if the file is damaged or of another architecture.
        ConfigError: if it is pickled and not trusted.
    """
    checksum = trusted_checksum(path, trust)
    content = read_state_dict(path)
    trunk = {name.removeprefix(_TRUNK): value for name, value in content.items() if name.startswith(_TRUNK)}
    needed = ("pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight")
    absent = [_TRUNK + name for name in needed if name not in trunk] + [
        name for name in (_PROJECTION,) if name not in content
    ]
    if absent:
        raise DataError(
            f"{path}: lacks {len(absent)} entries of BiomedCLIP's image tower, first {absent[0]!r}; expected an open_clip "
            "checkpoint with a timm ViT and a linear projection"
        )
    network = BiomedClip(_options_of(trunk), len(content[_PROJECTION]))
    try:
        network.trunk.load_state_dict(to_transformers(trunk))
        network.projection.load_state_dict({"weight": content[_PROJECTION]})
    except RuntimeError as error:
        raise DataError(f"{path}: is not BiomedCLIP's image tower ({' '.join(str(error).split())[:300]})") from None
    return network.eval(), checksum


def _options_of(trunk: Mapping[str, Tensor]) -> ViTConfig:
    """Read the ViT's shape off its weights."""
    width, _, patch, _ = trunk["patch_embed.proj.weight"].shape
    places = trunk["pos_embed"].shape[1] - 1  # without the class token
    return ViTConfig(
        hidden_size=width,
        num_hidden_layers=len({name.split(".")[1] for name in trunk if name.startswith("blocks.")}),
        num_attention_heads=max(1, width // _HEAD_FEATURES),
        intermediate_size=len(trunk["blocks.0.mlp.fc1.weight"]),
        image_size=round(places**0.5) * patch,
        patch_size=patch,
        layer_norm_eps=1e-6,  # timm's
    )


def to_transformers(trunk: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of timm's ViT to those of transformers' and take queries, keys and values apart."""
    renamed = {}
    for name, value in trunk.items():
        for old, new in _RENAMED.items():
            name = re.sub(rf"(^|\.){re.escape(old)}(?=\.|$)", rf"\g<1>{new}", name)
        if ".attn.qkv." in name:
            for part, rows in zip("qkv", value.chunk(3), strict=True):
                renamed[name.replace(".attn.qkv.", f".attention.{part}_proj.")] = rows
        else:
            renamed[name] = value
    return renamed


def load_transformers(name: str) -> tuple[TransformersClip, str]:
    """Load a CLIP model of transformers: a folder, or a name on the hub, from where it then is downloaded.

    Returns:
        The network in evaluation mode, on the CPU, and the SHA-256 of its weights.

    Raises:
        DataError: if it cannot be loaded; weights must be safetensors, which run no code.
    """
    try:
        model = CLIPVisionModelWithProjection.from_pretrained(
            name, local_files_only=Path(name).is_dir(), use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{name}: cannot be loaded as a CLIP model of transformers ({' '.join(str(error).split())[:200]}); name a folder "
            "with config.json and model.safetensors, or a model on the hub"
        ) from None
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.float().numpy().tobytes())
    return TransformersClip(model.float().eval()), digest.hexdigest()


def embed(
    weights: str, pack: ImagePack, device: Device, batch_size: int, precision: Precision, trust: Sequence[str] = ()
) -> Embeddings:
    """Embed every image of a pack; see `published.embed_with`.

    Args:
        weights: open_clip checkpoint, folder of a CLIP model of transformers, or its name on the hub.
    """
    whole_model = Path(weights).is_dir() or on_hub(weights)
    tower, checksum = load_transformers(weights) if whole_model else load_open_clip(weights, trust)
    return embed_with(Prepared(tower), pack, MetricName.SEMDEDUP, checksum, device=device, batch_size=batch_size,
                      precision=precision)  # fmt: skip
