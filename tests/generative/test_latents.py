import numpy as np
import pytest
import torch

from deepssim.errors import DataError
from deepssim.generative.latents import Latents, crop, pad, padding, read_latents, write_latents


def test_latents_survive_a_round_trip(tmp_path, random):
    first = Latents(random.normal(size=(3, 4, 5, 6)).astype(np.float32), list("abc"), 0.7)
    write_latents(tmp_path / "x.h5", first)
    again = read_latents(tmp_path / "x.h5")
    np.testing.assert_array_equal(again.values, first.values)
    assert (again.keys, again.scale, again.shape) == (list("abc"), 0.7, (4, 5, 6))
    np.testing.assert_array_equal(again.select(["c", "a"]).values, first.values[[2, 0]])
    assert again.select([]).values.shape == (0, 4, 5, 6)
    with pytest.raises(DataError, match="1 of 1 images have no latent, first 'x'"):
        again.select(["x"])


def test_padding_is_that_of_the_paper():
    assert padding((34, 28), 4) == (0, 0, 1, 1)  # 3x34x28 becomes 3x36x28
    assert padding((32, 32), 4) == (0, 0, 0, 0)


@pytest.mark.parametrize("size", [(h, w) for h in range(1, 9) for w in (5, 8)])
def test_crop_undoes_pad(size):
    latents = torch.randn(2, 3, *size)
    padded = pad(latents, 4)
    assert padded.shape[2] % 4 == padded.shape[3] % 4 == 0
    assert max(padded.shape[2] - size[0], padded.shape[3] - size[1]) < 4
    assert torch.equal(crop(padded, size, 4), latents)
