"""The image tower of a CLIP model: BiomedCLIP in open_clip's format, or any CLIP model of the library transformers.

BiomedCLIP's tower is timm's ViT-B/16 (vit.py) and a projection.

Not here: trust in files (published.py), the score between embeddings (similarity/embedding_scores.py).

Source: SemDeDup, arXiv:2303.09540, with BiomedCLIP, arXiv:2303.00915, as in arXiv:2509.16582.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepssim.config.choices import Device, MetricName, Precision
from deepssim.encoders.published import embed_with, trusted_checksum
from deepssim.encoders.vit import Vit, VitOptions
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.runtime.hub import download_open_clip, on_hub, open_clip_repository
from deepssim.runtime.weights import read_state_dict
from deepssim.similarity.embeddings import Embeddings

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

_TRUNK, _PROJECTION = "visual.trunk.", "visual.head.proj.weight"
_HEAD_FEATURES = 64  # per attention head, in every ViT published in this format
# Of the images that CLIP models are trained on, red, green and blue (arXiv:2103.00020).
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class BiomedClip(nn.Module):
    """ViT with a linear projection.

    Args:
        options: architecture of the ViT.
        features: length of an embedding.
    """

    def __init__(self, options: VitOptions, features: int) -> None:
        super().__init__()
        self.trunk = Vit(options)
        self.projection = nn.Linear(options.width, features, bias=False)
        self.side = options.side

    def forward(self, images: Tensor) -> Tensor:
        """Return the projected class tokens, (N, D), of standardised images of shape (N, 3, side, side)."""
        return self.projection(self.trunk(images))


class TransformersClip(nn.Module):
    """Adapter with the interface of `BiomedClip` for a CLIP model of transformers.

    Args:
        model: its image tower with the projection.
    """

    def __init__(self, model: "CLIPVisionModelWithProjection") -> None:
        super().__init__()
        self.model = model
        self.side = int(model.config.image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the projected class tokens, (N, D), of standardised images of shape (N, 3, side, side)."""
        return self.model(pixel_values=images).image_embeds


class ClipEncoder(nn.Module):
    """CLIP's preprocessing and an image tower: bicubic resizing of the shorter side, central crop, standardisation.

    Args:
        tower: takes standardised colour images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, tower: BiomedClip | TransformersClip) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings, (N, D), of images of shape (N, 1, H, W), 0 to 1."""
        side = self.tower.side
        scale = side / min(images.shape[2:])
        size = [round(length * scale) for length in images.shape[2:]]
        large = F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        top, left = ((length - side) // 2 for length in size)
        return self.tower((large[:, :, top : top + side, left : left + side] - self.mean) / self.deviation)


def load_open_clip(path: str | Path, trust: Sequence[str] = ()) -> tuple[BiomedClip, str]:
    """Load the image tower of an open_clip checkpoint whose trunk is a ViT of timm.

    Args:
        path: checkpoint.
        trust: see `published.trusted_checksum`.

    Returns:
        The network in evaluation mode, on the CPU, and the file's SHA-256.

    Raises:
        DataError: if the file is damaged or of another architecture.
        ConfigError: if it is a pickle file and not trusted.
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
        network.trunk.load_state_dict(trunk)
        network.projection.load_state_dict({"weight": content[_PROJECTION]})
    except RuntimeError as error:
        raise DataError(f"{path}: is not BiomedCLIP's image tower ({' '.join(str(error).split())[:300]})") from None
    return network.eval(), checksum


def _options_of(trunk: Mapping[str, Tensor]) -> VitOptions:
    """Infer the architecture of the ViT from the shapes of its weights."""
    width, _, patch, _ = trunk["patch_embed.proj.weight"].shape
    places = trunk["pos_embed"].shape[1] - 1  # without the class token
    return VitOptions(
        width=width,
        depth=len({name.split(".")[1] for name in trunk if name.startswith("blocks.")}),
        heads=max(1, width // _HEAD_FEATURES),
        hidden=len(trunk["blocks.0.mlp.fc1.weight"]),
        side=round(places**0.5) * patch,
        patch=patch,
    )


def load_transformers(name: str) -> tuple[TransformersClip, str]:
    """Load the image tower of a CLIP model of transformers.

    Args:
        name: folder of the model, or its name on the Hugging Face hub, from which it is downloaded.

    Returns:
        The network in evaluation mode, on the CPU, and the SHA-256 of its weights.

    Raises:
        DataError: if it cannot be loaded; its weights must be safetensors, which cannot contain code.
    """
    from transformers import CLIPVisionModelWithProjection  # seconds to import, and BiomedCLIP does not need it

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
    """Embed every image of a pack with a CLIP model.

    Args:
        weights: open_clip checkpoint, folder of a CLIP model of transformers, or the name of either on the hub, that of
            open_clip's with `hf-hub:` before it.
        pack: images.
        device: where to compute.
        batch_size: images at a time.
        precision: see `extraction.extract`.
        trust: see `published.trusted_checksum`.

    Returns:
        Embeddings with the keys of the pack.

    Raises:
        DataError: if the weights are unusable; see `published.embed_with`.
        ConfigError: if they are not trusted.
    """
    repository = open_clip_repository(weights)
    if repository:
        weights = download_open_clip(repository)
    whole_model = Path(weights).is_dir() or on_hub(weights)
    tower, checksum = load_transformers(weights) if whole_model else load_open_clip(weights, trust)
    return embed_with(ClipEncoder(tower), pack, MetricName.SEMDEDUP, checksum, device=device, batch_size=batch_size,
                      precision=precision)  # fmt: skip
