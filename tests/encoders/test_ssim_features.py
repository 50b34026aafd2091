import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deepssim.encoders.backbones import in_cache
from deepssim.encoders.ssim_features import SsimFeatures
from deepssim.ground_truth.labels import SSIM_THRESHOLDS, Label
from deepssim.similarity.ssim import ssim_of_arrays

COUNT = 16
SIZES = [(64, 64), (128, 128), (136, 112), (256, 256)]


def copies(images):
    """Blends with other images, and noise: from near duplicates to unrelated images."""
    random = np.random.default_rng(0)
    blends = [share * images + (1 - share) * images[::-1] for share in (0.6, 0.8)]
    noisy = [images + random.normal(0, deviation, images.shape) for deviation in (0.003, 0.01, 0.04)]
    return np.clip(np.concatenate([images, *blends, *noisy]), 0, 1).astype(np.float32)


def embedded(features, images):
    with torch.inference_mode():
        return features(torch.from_numpy(images)[:, None])


def cosines(features, *sides):
    real, synthetic = (F.normalize(embedded(features, part)) for part in sides)
    return (real @ synthetic.T).numpy()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_cosines_are_near_to_ssim_without_training(images_of, size):
    """At the size of the images, for unrelated, similar and duplicate images, which count the same."""
    real = images_of(COUNT, size)
    synthetic = copies(real)
    truth = ssim_of_arrays(real, synthetic)
    torch.manual_seed(0)
    errors = cosines(SsimFeatures(1024), real, synthetic) - truth
    labels = SSIM_THRESHOLDS.classify(truth)
    assert min((labels == label).sum() for label in Label) >= 20
    of_classes = [np.abs(errors[labels == label]).mean() for label in Label]
    assert np.mean(of_classes) < 0.02
    assert of_classes[Label.DUPLICATE] < 0.01
    assert np.abs(np.diag(errors)).max() < 1e-5  # the first copies are the images themselves


def test_the_kernel_of_a_window_is_ssim(images_of):
    """The formula, written down pixel by pixel for one window at the image's own size."""
    torch.manual_seed(0)
    features = SsimFeatures(256)
    real = images_of(8, (136, 112))
    one, two = real[0], copies(real)[8]
    number = 100
    row, column = (features.corners[:, number].numpy().astype(np.int64) * (130, 106)) >> 20
    with torch.inference_mode():
        outer, inner = features.windows(torch.from_numpy(np.stack([one, two]))[:, None])
    vectors = np.einsum("nqm,nj->nqmj", outer[:, number].numpy(), inner[:, number].numpy())
    parts = []
    for image in (one, two):
        scored = (image - image.mean()) / image.std()
        window = scored[row : row + 7, column : column + 7].ravel().astype(np.float64)
        extent = np.ptp(scored) ** 0.7 * 4**0.3
        parts.append((window, window.mean(), window.var(ddof=1), 0.01 * extent / 2**0.5, 0.03 * extent / 2**0.5))
    (x, mx, vx, ax, bx), (y, my, vy, ay, by) = parts
    above = (mx * my + ax * ay) * (((x - mx) * (y - my)).sum() / 48 + bx * by)
    levels, deviations = (mx**2 + ax**2, my**2 + ay**2), (vx + bx**2, vy + by**2)
    apart = np.log([levels[0] / levels[1], deviations[0] / deviations[1]]) / 2
    rates = features.rates.numpy().astype(np.float64)  # of all windows
    factors = np.cos(apart @ rates)
    geometric = above / np.sqrt(np.prod(levels) * np.prod(deviations))
    assert (vectors[0] * vectors[1]).sum() == pytest.approx(geometric * factors[number], abs=1e-4)
    assert factors.mean() == pytest.approx(np.prod(1 / np.cosh(apart)), abs=0.02)
    assert (vectors**2).sum(axis=(1, 2, 3)) == pytest.approx(1, abs=1e-5)


def test_every_part_of_the_image_has_windows():
    """Every seventh of the image changes the embedding, and positions scale with the image."""
    features = SsimFeatures(128)
    image = torch.rand(1, 1, 140, 70)
    with torch.inference_mode():
        whole = features(image)
        for top in range(0, 140, 20):
            for left in range(0, 70, 10):
                changed = image.clone()
                changed[:, :, top : top + 20, left : left + 10] = 0.5
                assert F.cosine_similarity(features(changed), whole).item() < 0.995
    one, two = (features._pixels(torch.empty(1, 1, 7 + 64 * scale, 7 + 64 * scale))[:, 0] for scale in (1, 4))
    assert ((two // 263 // 4 - one // 71).abs() <= 1).all()
    assert ((two % 263 // 4 - one % 71).abs() <= 1).all()


def test_the_sketch_keeps_inner_products_on_average():
    """Over many sketches the mean inner product is that of the windows, with dark windows or without."""
    random = np.random.default_rng(3)
    images = random.random((2, 40, 56)).astype(np.float32)
    images[1] = 0.6 * images[0] + 0.4 * images[1]
    images[:, :20] = 0.02
    found, expected = [], []
    for seed in range(150):
        torch.manual_seed(seed)
        features = SsimFeatures(64)
        one, two = embedded(features, images)
        outer, inner = features.windows(torch.from_numpy(images)[:, None])
        with torch.inference_mode():
            exact = ((outer[0] * outer[1]).sum(dim=(1, 2)) * (inner[0] * inner[1]).sum(dim=1)).mean()
        found.append(float(one @ two))
        expected.append(float(exact))
    errors = np.array(found) - expected
    assert abs(errors.mean()) < 4 * errors.std() / 150**0.5
    assert errors.std() < 0.12  # 1 / 64**0.5 is 0.125


@pytest.mark.parametrize("size", [(64, 64), (40, 56), (136, 112), (7, 9), (300, 33)])
@pytest.mark.parametrize("length", [2, 32, 1000])
def test_any_size_and_length(size, length):
    torch.manual_seed(1)
    features = SsimFeatures(length)
    images = torch.rand(3, 1, *size)
    with torch.inference_mode():
        whole = features(images)
        assert whole.shape == (3, length)
        torch.testing.assert_close(features(0.4 * images + 0.3), whole, atol=1e-3, rtol=1e-2)  # z-scored
        single = torch.cat([features(image[None]) for image in images])
    torch.testing.assert_close(single, whole, atol=1e-5, rtol=1e-4)  # whatever the batch


def test_the_stored_buffers_decide_everything():
    torch.manual_seed(1)
    one, images = SsimFeatures(128), torch.rand(2, 1, 50, 60)
    torch.manual_seed(2)
    two = SsimFeatures(128)
    with torch.inference_mode():
        assert not torch.allclose(one(images), two(images), atol=0.05)
        two.load_state_dict(one.state_dict())
        assert torch.equal(one(images), two(images))


def test_places_and_frequencies_can_be_learned():
    torch.manual_seed(1)
    features = SsimFeatures(32)
    features(torch.rand(3, 1, 64, 64)).square().sum().backward()
    assert all(value.grad is not None and (value.grad != 0).all() for value in features.parameters())


@pytest.mark.parametrize("size", [(64, 64), (136, 112)])
def test_a_weight_of_zero_hides_a_place(size):
    """Weights of positions keep their place at every size."""
    torch.manual_seed(1)
    features = SsimFeatures(128)
    with torch.no_grad():
        features.places.view(16, 16)[:, 8:] = -100  # the right half
    image = torch.rand(1, 1, *size)
    changed = image.clone()
    changed[..., size[1] // 2 + 4 :] = changed[..., size[1] // 2 + 4 :].flip(
        2
    )  # mean, deviation and range are the same
    with torch.inference_mode():
        torch.testing.assert_close(features(changed), features(image), atol=1e-4, rtol=1e-3)
        assert not torch.allclose(features(changed.flip(3)), features(image.flip(3)), atol=0.01)


def test_parts_of_a_batch_give_the_embeddings_of_the_whole():
    """Only without gradients, which a training needs, and not in a trace, which would fix the number of images."""
    torch.manual_seed(0)
    features = SsimFeatures(256)
    images = torch.rand(40, 1, 24, 32)
    whole = features(images)
    with torch.inference_mode():
        assert [len(part) for part in in_cache(images, 16)] == [16, 16, 8]
        torch.testing.assert_close(features(images), whole.detach(), rtol=0, atol=2e-7)
    assert [len(part) for part in in_cache(images, 16)] == [40]
    with torch.no_grad():
        traced = torch.jit.trace(features, images, check_trace=False)
        assert len(traced(images[:24])) == 24
