"""Terms of the autoencoder's loss agree with other implementations and know what they lack."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, sobel

from deepssim.config.choices import Perceptual
from deepssim.errors import ConfigError
from deepssim.generative.losses import gradient_difference, kl_divergence, perceptual_loss


def test_kl_matches_the_formula_and_torch():
    mean, deviation = torch.randn(3, 2, 4, 4), torch.rand(3, 2, 4, 4) + 0.5
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, deviation), normal(0.0, 1.0)).flatten(1).sum(1).mean()
    torch.testing.assert_close(kl_divergence(mean, deviation), expected)
    assert kl_divergence(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)) == 0


def test_gradient_difference_matches_scipy_at_full_resolution():
    """Sobel by scipy, which kornia divides by 8; images of 3 pixels have one resolution only."""
    first, second = (torch.rand(1, 1, 3, 3, dtype=torch.float64) for _ in range(2))
    expected = np.mean(
        [
            np.abs(sobel(first[0, 0].numpy(), axis, mode="nearest") - sobel(second[0, 0].numpy(), axis, mode="nearest"))
            for axis in (0, 1)
        ]
    )
    assert float(gradient_difference(first, second)) == pytest.approx(expected / 8)


def test_gradient_difference_sees_blur_more_than_brightness():
    random = np.random.default_rng(0)
    image = gaussian_filter(random.random((1, 1, 32, 32)), (0, 0, 1, 1))
    blurred = gaussian_filter(image, (0, 0, 2, 2))
    brighter = image + np.abs(image - blurred).mean()  # as far from the image as the blurred one in grey values
    tensors = [torch.from_numpy(values) for values in (image, blurred, brighter)]
    assert gradient_difference(tensors[0], tensors[0]) == 0
    assert gradient_difference(tensors[0], tensors[1]) > 20 * gradient_difference(tensors[0], tensors[2])


def test_what_the_perceptual_loss_needs_is_one_sentence(monkeypatch, tmp_path):
    assert perceptual_loss(Perceptual.NONE) is None
    assert perceptual_loss(Perceptual.GRADIENT) is gradient_difference
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        ConfigError, match="'squeeze'.*(install 'deepssim\\[lpips\\]'|download https).*set vae.perceptual"
    ):
        perceptual_loss(Perceptual.SQUEEZE)
