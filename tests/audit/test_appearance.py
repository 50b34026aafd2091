"""Noise and blur that hide moved copies are named, and what generators and scanners usually add is not."""

import cv2
import numpy as np
import pytest

from deepssim.audit.appearance import BLURRED, NOISY, blur, hidden_by_appearance, noise
from deepssim.audit.comparability import HIDING, different_sides
from deepssim.images.folders import Collection
from deepssim.images.packs import ImagePack


def collected(images):
    keys = [str(number) for number in range(len(images))]
    sizes = {f"{images.shape[2]}x{images.shape[1]}": len(images)}
    return Collection(ImagePack(images, keys), [], keys, sizes, [], {}, {})


def each(images, change):
    return np.stack([np.clip(change(image), 0, np.iinfo(images.dtype).max).astype(images.dtype) for image in images])


def noisy(images, strength):
    """Add noise, in the range of values."""
    random = np.random.default_rng(1)
    return each(images, lambda image: image + random.normal(scale=strength * np.ptp(image), size=image.shape))


def blurred(images, pixels):
    return each(images, lambda image: cv2.GaussianBlur(image.astype(np.float32), (0, 0), pixels))


def compressed(images, quality):
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return each(images, lambda image: cv2.imdecode(cv2.imencode(".jpg", image, options)[1], cv2.IMREAD_GRAYSCALE))


@pytest.fixture(scope="module", params=["chest_xray", "brain_slices"])
def real(request, real_data):
    paths = sorted((real_data / request.param).glob("*.png"))[:60]
    return np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])


def test_noise_is_measured_in_the_deviation_of_the_image():
    smooth = np.tile(np.linspace(0, 200, 128, dtype=np.float32), (128, 1))
    for strength in (5.0, 20.0):
        image = smooth + np.random.default_rng(0).normal(scale=strength, size=smooth.shape).astype(np.float32)
        assert noise(image) == pytest.approx(strength / image.std(), rel=0.03)
    assert noise(smooth) == pytest.approx(0, abs=1e-4)
    assert noise(np.full((8, 8), 7, np.float32)) == 0


def test_blur_grows_with_the_filter():
    image = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    values = [blur(image), *(blur(cv2.GaussianBlur(image, (0, 0), pixels)) for pixels in (1, 2, 4))]
    assert values == sorted(values)
    assert 0 < values[0] < 0.05
    assert 0.5 < values[3] < 1


@pytest.mark.parametrize(
    ("change", "strength", "kinds"),
    [
        (noisy, 0.1, [NOISY]),
        (noisy, 0.3, [NOISY]),
        (noisy, 0.03, []),
        (blurred, 2.0, [BLURRED]),
        (blurred, 4.0, [BLURRED]),
        (blurred, 0.75, []),
        (compressed, 30, []),
    ],
)
def test_real_images_with_noise_or_blur(real, change, strength, kinds):
    """The first sixth of the synthetic images is changed; the limits lie between 0.06 and 0.1, and 1 and 2 pixels."""
    training, others = collected(real[:30]), real[30:].copy()
    others[:5] = change(others[:5], strength)
    found = hidden_by_appearance(training, collected(others))
    assert [kind for kind, _ in found] == kinds
    if kinds:
        assert 3 <= int(found[0][1].split(" of 30 synthetic images ")[0]) <= 5  # some have few details to lose
        assert set(kinds) < set(HIDING)
        assert kinds[0] in dict(different_sides({"real": training, "synthetic": collected(others)}))
        same = hidden_by_appearance(collected(change(real[:30], strength)), collected(others))
        assert kinds[0] not in dict(same)  # as training images are


def test_sixteen_bits_and_large_images_are_measured_as_they_are_compared(real):
    deep = real.astype(np.uint16) * 257
    large = np.stack([cv2.resize(image, (256, 256)) for image in real[:30]])
    for images in (deep, large):
        assert not hidden_by_appearance(collected(real[:30]), collected(images))
        assert [kind for kind, _ in hidden_by_appearance(collected(real[:30]), collected(noisy(images, 0.3)))] == [
            NOISY
        ]
