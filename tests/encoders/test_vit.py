"""The ViT agrees with a computation of timm's ViT layer by layer; loading whole checkpoints is tested in test_published."""

import torch

from deepssim.encoders.vit import Vit, VitOptions
from tests.encoders import given


def test_class_tokens_are_those_of_timm():
    weights = given.filled(given.open_clip_entries(width=128, blocks=3, patch=8, side=32))
    network = Vit(VitOptions(width=128, depth=3, heads=2, hidden=512, side=32, patch=8))
    network.load_state_dict(
        {name.removeprefix("visual.trunk."): value for name, value in weights.items() if "trunk" in name}
    )
    weights["visual.head.proj.weight"] = torch.eye(128)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), given.vit(weights, images, heads=2), atol=1e-5, rtol=1e-4)
