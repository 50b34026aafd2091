"""The ResNet agrees with MONAI's; its agreement with torchvision's is tested by Dar's published state dict."""

import pytest
import torch
from monai.networks.nets.resnet import ResNet as MonaiResNet

from deepssim.encoders.resnet import ResNet


def both(bottleneck, depths):
    """Return the same network by this package and by MONAI, from the same random numbers."""
    torch.manual_seed(0)
    ours = ResNet(bottleneck, depths, 8, 12)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    theirs = MonaiResNet(
        "bottleneck" if bottleneck else "basic", list(depths), [8, 16, 32, 64], spatial_dims=2, n_input_channels=1,
        conv1_t_size=7, conv1_t_stride=2, num_classes=12, bias_downsample=False,
    )  # fmt: skip
    assert torch.equal(torch.rand(3), drawn)
    return ours, theirs


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("depths", [(1, 1, 1, 1), (2, 1, 3, 2)])
def test_weights_results_and_gradients_are_those_of_monai(bottleneck, depths):
    ours, theirs = both(bottleneck, depths)
    weights, expected = ours.state_dict(), theirs.state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    images = torch.rand(4, 1, 64, 56)
    for training in (True, False):
        found, wanted = (network.train(training)(images) for network in (ours, theirs))
        assert found.shape == (4, 12)
        torch.testing.assert_close(found, wanted)
    found.square().sum().backward()
    wanted.square().sum().backward()
    for value, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(value.grad, other.grad)
