import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deepssim.encoders.ssim_features import SsimFeatures
from deepssim.similarity.ssim import ssim_of_arrays


def copies(images):
    """Blends with other images, and noise."""
    random = np.random.default_rng(0)
    blends = [share * images + (1 - share) * images[::-1] for share in (0.6, 0.8)]
    noisy = [images + random.normal(0, deviation, images.shape) for deviation in (0.01, 0.04)]
    return np.clip(np.concatenate([*blends, *noisy]), 0, 1).astype(np.float32)


def cosines(features, *sides):
    with torch.inference_mode():
        real, synthetic = (F.normalize(features(torch.from_numpy(part)[:, None])) for part in sides)
    return (real @ synthetic.T).numpy()


def test_cosines_are_near_to_ssim_without_training(scans, request):
    """Virtual patients, whose heads all lie alike and have black around them, are harder."""
    torch.manual_seed(0)
    found = cosines(SsimFeatures(1024), scans, copies(scans))
    truth = ssim_of_arrays(scans, copies(scans))
    assert np.abs(found - truth).mean() < (0.03 if "X-rays" in request.node.name else 0.04)
    close = truth > 0.6
    assert close.sum() > 100
    assert np.abs(found - truth)[close].mean() < 0.02
    assert abs((found - truth)[close].mean()) < 0.015


def test_windows_give_ssim_on_average(scans):
    """The formula, written down pixel by pixel for one window."""
    features = SsimFeatures(16)
    one, two = scans[0], copies(scans)[0]
    with torch.inference_mode():
        vectors = features.windows(torch.from_numpy(np.stack([one, two]))[:, None])[..., 7, 11].numpy()
    parts = []
    for image in (one, two):
        scored = (image - image.mean()) / image.std()
        window = scored[21:28, 33:40].ravel().astype(np.float64)
        parts.append((window, window.mean(), window.var(ddof=1), np.ptp(scored)))
    (x, mx, vx, rx), (y, my, vy, ry) = parts
    a, b = (0.01 * rx / 2**0.5, 0.01 * ry / 2**0.5), (0.03 * rx / 2**0.5, 0.03 * ry / 2**0.5)
    covariance = ((x - mx) * (y - my)).sum() / 48
    above = (mx * my + a[0] * a[1]) * (covariance + b[0] * b[1])
    levels = [mx**2 + a[0] ** 2, my**2 + a[1] ** 2]
    deviations = [vx + b[0] ** 2, vy + b[1] ** 2]
    apart = np.log([levels[0] / levels[1], deviations[0] / deviations[1]]) / 2
    rates = features.rates.flatten(1).numpy().astype(np.float64)  # of all windows
    factors = np.cos(apart @ rates)
    own = factors.reshape(20, 20)[7, 11]
    geometric = above / np.sqrt(np.prod(levels) * np.prod(deviations))
    assert (vectors[0] * vectors[1]).sum() == pytest.approx(geometric * own, abs=1e-4)
    ssim = above / (np.mean(levels) * np.mean(deviations))
    assert abs(ssim / geometric) < 0.97  # so that the next line asks for something
    assert geometric * factors.mean() == pytest.approx(ssim, abs=0.02)
    assert (vectors**2).sum(axis=(1, 2, 3)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (40, 56), (136, 112)])
def test_an_image_is_its_own_copy_at_every_size(size):
    torch.manual_seed(1)
    features = SsimFeatures(32)
    images = torch.rand(3, 1, *size)
    embedded = features(images)
    assert embedded.shape == (3, 32)
    torch.testing.assert_close(features(0.4 * images + 0.3), embedded, atol=1e-3, rtol=1e-2)  # z-scored


def test_places_and_frequencies_can_be_learned():
    torch.manual_seed(1)
    features = SsimFeatures(32)
    features(torch.rand(3, 1, 64, 64)).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in features.parameters())
