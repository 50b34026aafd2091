"""Streams of random numbers depend on their name only."""

import torch

from deepssim.seeds import derive_seed, numpy_generator, torch_generator


def test_streams_differ_by_name_and_seed():
    assert len({derive_seed(0, "a", 1), derive_seed(0, "a", 2), derive_seed(1, "a", 1), derive_seed(0, "a1")}) == 4


def test_seed_is_the_same_on_every_machine():
    assert derive_seed(0, "generate", "x___gen-0") == 7176102305467115340


def test_generators_repeat():
    assert numpy_generator(1, "x").random() == numpy_generator(1, "x").random()
    assert torch.equal(
        torch.rand(3, generator=torch_generator(1, "x")), torch.rand(3, generator=torch_generator(1, "x"))
    )
