"""The ConvNeXt agrees with that of the library transformers, whose weights and names it shares."""

import pytest
import torch
from transformers import ConvNextConfig, ConvNextModel

from deepssim.encoders.convnext import ConvNext


def both(depths, widths, patch_size):
    """Return the same network by this package and by transformers, from the same random numbers."""
    torch.manual_seed(0)
    ours = ConvNext(depths, widths, patch_size)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    theirs = ConvNextModel(
        ConvNextConfig(num_channels=3, patch_size=patch_size, hidden_sizes=list(widths), depths=list(depths))
    )
    assert torch.equal(torch.rand(3), drawn)
    theirs.layernorm = torch.nn.Identity()  # of its own pooling
    return ours, theirs


@pytest.mark.parametrize("sizes", [((1, 1, 2, 1), (8, 8, 16, 32), 4), ((2, 1, 1, 3), (4, 8, 8, 8), 2)])
def test_initial_weights_are_those_of_transformers(sizes):
    ours, theirs = (dict(network.named_parameters()) for network in both(*sizes))
    assert list(ours) == list(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("half", [False, True])
def test_features_and_gradients_are_those_of_transformers(half):
    ours, theirs = both((1, 1, 2, 1), (8, 8, 16, 32), 4)
    with torch.no_grad():  # so that a block adds more than a millionth
        for value in ours.parameters():
            value.normal_(std=0.2)
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(3, 3, 72, 64)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        maps, expected = (network(images).last_hidden_state for network in (ours, theirs))
    assert maps.shape == (3, 32, 2, 2)
    torch.testing.assert_close(maps, expected)
    for result in (maps, expected):
        result.float().square().sum().backward()
    for value, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(value.grad, other.grad)


def test_it_can_be_built_without_memory():
    with torch.device("meta"):
        network = ConvNext((1, 1, 1, 1), (8, 8, 8, 8), 4)
    assert all(value.is_meta for value in network.parameters())
