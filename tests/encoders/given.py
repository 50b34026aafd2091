"""Files of the structure and with the entry names of the published encoders, small and filled at random; made by torch alone."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn


def write_images(root, names, random, size=(40, 32)):
    """Write an image tree: a real image and two others per record; return all images by key."""
    images = {}
    for name in names:
        (root / name).mkdir(parents=True)
        for kind in ("training", "gen-0", "gen-1"):
            image = random.integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(image).save(root / name / f"{kind}.png")
            images[f"{name}___{kind}"] = image
    return images


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.norm(self.spread(maps).permute(0, 2, 3, 1))
        return maps + self.narrow(F.gelu(self.wide(inner))).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """Stem, a block and the head of the published DeepSSIM; takes z-scored images of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.block = Block(8)
        self.head = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 16), nn.GELU(), nn.Dropout(0.33), nn.Linear(16, 12))

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1] == 3
        return self.head(self.block(self.stem(images)).mean(dim=(2, 3)))


class Sscd(nn.Module):
    """Convolutions, generalised mean, projection and normalisation; takes images of 288x288 and three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 7, stride=8, padding=3), nn.ReLU())
        self.embeddings = nn.Linear(8, 12)

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == torch.Size([3, 288, 288])
        pooled = self.backbone(images).clamp(min=1e-6).pow(3.0).mean(dim=(2, 3)).pow(1.0 / 3.0)
        return F.normalize(self.embeddings(pooled), dim=1)


def save_scripted(path, network):
    torch.manual_seed(0)
    torch.jit.script(network.eval()).save(str(path))
    return network


def resnet_entries(blocks=(3, 4, 6, 3), width=64, features=128):
    """Shapes of a ResNet of bottlenecks with one input channel as torchvision names its layers, and Dar's `fc_end`."""

    def norm(name, channels):
        return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")} | {
            f"{name}.num_batches_tracked": ()
        }

    shapes = {"model.conv1.weight": (width, 1, 7, 7), **norm("model.bn1", width)}
    inside = width
    for stage, count in enumerate(blocks):
        narrow, wide = width * 2**stage, 4 * width * 2**stage
        for number in range(count):
            name = f"model.layer{stage + 1}.{number}"
            for part, shape in enumerate(
                [(narrow, inside, 1, 1), (narrow, narrow, 3, 3), (wide, narrow, 1, 1)], start=1
            ):
                shapes |= {f"{name}.conv{part}.weight": shape, **norm(f"{name}.bn{part}", shape[0])}
            if number == 0:
                shapes |= {f"{name}.downsample.0.weight": (wide, inside, 1, 1), **norm(f"{name}.downsample.1", wide)}
            inside = wide
    return shapes | {
        "model.fc.weight": (features, inside), "model.fc.bias": (features,), "fc_end.weight": (1, features), "fc_end.bias": (1,),
    }  # fmt: skip


def filled(shapes):
    """Fill entries at random so that signals keep their size through the layers."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
            continue
        values = torch.randn(shape, generator=generator)
        fan_in = max(1, values[0].numel()) if values.ndim > 1 else 1
        weights[name] = values * (2 / fan_in) ** 0.5 if values.ndim > 1 else 0.5 + 0.1 * values.abs()
    return weights


def resnet(weights, images, training=False):
    """Compute a ResNet of bottlenecks layer by layer: the stride is that of the 3x3 convolution, as in torchvision.

    In training mode the statistics of normalisation are those of the batch.
    """

    def conv(x, name, stride=1, padding=0):
        return F.conv2d(x, weights[f"{name}.weight"], stride=stride, padding=padding)

    def norm(x, name):
        parts = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *(part.clone() for part in parts), training=training, eps=1e-5)

    x = F.relu(norm(conv(images, "model.conv1", 2, 3), "model.bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        number = 0
        while f"model.layer{stage}.{number}.conv1.weight" in weights:
            name = f"model.layer{stage}.{number}"
            stride = 2 if stage > 1 and number == 0 else 1
            y = F.relu(norm(conv(x, f"{name}.conv1"), f"{name}.bn1"))
            y = F.relu(norm(conv(y, f"{name}.conv2", stride, 1), f"{name}.bn2"))
            y = norm(conv(y, f"{name}.conv3"), f"{name}.bn3")
            if number == 0:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = F.relu(x + y)
            number += 1
    return F.normalize(F.linear(x.mean((2, 3)), weights["model.fc.weight"], weights["model.fc.bias"]))


def open_clip_entries(width=128, blocks=2, patch=16, side=32, features=24):
    """Shapes of an open_clip checkpoint with timm's ViT, as BiomedCLIP's; some entries of its text tower too."""
    shapes = {
        "visual.trunk.cls_token": (1, 1, width),
        "visual.trunk.pos_embed": (1, 1 + (side // patch) ** 2, width),
        "visual.trunk.patch_embed.proj.weight": (width, 3, patch, patch),
        "visual.trunk.patch_embed.proj.bias": (width,),
    }
    for number in range(blocks):
        name = f"visual.trunk.blocks.{number}"
        for layer, shape in {
            "norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,),
            "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width),
        }.items():  # fmt: skip
            shapes |= {f"{name}.{layer}.weight": shape, f"{name}.{layer}.bias": shape[:1]}
    shapes |= {"visual.trunk.norm.weight": (width,), "visual.trunk.norm.bias": (width,)}
    shapes |= {"visual.head.proj.weight": (features, width), "text.proj.0.weight": (4, 4), "logit_scale": (1,)}
    return shapes


def vit(weights, images, heads):
    """Compute timm's ViT with class token, and the projection, from open_clip's entries."""
    trunk = {name.removeprefix("visual.trunk."): value for name, value in weights.items()}
    width = trunk["pos_embed"].shape[2]

    def norm(x, name):
        return F.layer_norm(x, (width,), trunk[f"{name}.weight"], trunk[f"{name}.bias"], eps=1e-6)

    def linear(x, name):
        return F.linear(x, trunk[f"{name}.weight"], trunk[f"{name}.bias"])

    kernel = trunk["patch_embed.proj.weight"]
    patches = F.conv2d(images, kernel, trunk["patch_embed.proj.bias"], stride=kernel.shape[2:]).flatten(2).mT
    x = torch.cat([trunk["cls_token"].expand(len(images), -1, -1), patches], dim=1) + trunk["pos_embed"]
    for number in range(sum(name.endswith("attn.qkv.weight") for name in trunk)):
        name = f"blocks.{number}"
        parts = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, dim=2)
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in parts)
        attended = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + linear(attended, f"{name}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
    return F.linear(norm(x, "norm")[:, 0], weights["visual.head.proj.weight"])
