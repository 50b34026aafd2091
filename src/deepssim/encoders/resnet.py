"""ResNet of basic or bottleneck blocks for images with one channel.

Layers have torchvision's names, as in the published state dict of Dar et al.; initial weights and results are those of
MONAI's `ResNet`, which takes seconds to import. As in torchvision, the 3x3 convolution of a bottleneck has the stride.

Not here: embedding images (dar.py), training (dar_training.py).

Source: arXiv:1512.03385.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

_EXPANSION = 4  # output channels of a bottleneck per inner channel


class ResNet(nn.Module):
    """ResNet with four stages and a linear layer.

    Args:
        bottleneck: blocks of three convolutions instead of two.
        depths: blocks per stage.
        width: channels of the first stage; each further stage has twice as many.
        features: length of the output.
    """

    def __init__(self, bottleneck: bool, depths: Sequence[int], width: int, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = width
        for number, depth in enumerate(depths):
            inner = width * 2**number
            blocks = []
            for place in range(depth):
                blocks.append(_Block(bottleneck, channels, inner, stride=2 if number and not place else 1))
                channels = blocks[-1].channels
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, features)
        nn.init.zeros_(self.fc.bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of a batch.

        Args:
            images: float32 (N, 1, H, W).

        Returns:
            float32 (N, `features`).
        """
        maps = self.maxpool(F.relu(self.bn1(self.conv1(images))))
        for number in range(1, 5):
            maps = self.get_submodule(f"layer{number}")(maps)
        return self.fc(F.adaptive_avg_pool2d(maps, 1).flatten(1))


class _Block(nn.Module):
    """Residual block, whose input is projected where the shape changes."""

    def __init__(self, bottleneck: bool, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        self.channels = inner * _EXPANSION if bottleneck else inner
        if bottleneck:
            self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(inner)
            self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(inner)
            self.conv3 = nn.Conv2d(inner, self.channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(self.channels)
        else:
            self.conv1 = nn.Conv2d(channels, inner, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(inner)
            self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(inner)
        self.downsample = None
        if stride > 1 or channels != self.channels:
            projection = nn.Conv2d(channels, self.channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(self.channels))

    def forward(self, maps: Tensor) -> Tensor:
        added = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps)))))
        if self.bottleneck:
            added = self.bn3(self.conv3(F.relu(added)))
        return F.relu(added + (maps if self.downsample is None else self.downsample(maps)))
