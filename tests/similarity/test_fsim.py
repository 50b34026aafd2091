"""FSIM agrees with a slow implementation written from the papers, one pair and one filter at a time."""

import math

import numpy as np
import pytest
from scipy.signal import convolve2d

from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.similarity.fsim import FsimComparison, FsimVariant, fsim_maps, phase_congruency
from deepssim.similarity.tiles import all_scores, pair_scores


def slow_phase_congruency(image: np.ndarray) -> np.ndarray:
    """Kovesi 1999 with FSIM's settings, on a centred frequency grid, even sizes."""
    height, width = image.shape
    v, u = np.meshgrid(
        np.arange(-height // 2, height // 2) / height, np.arange(-width // 2, width // 2) / width, indexing="ij"
    )
    radius = np.sqrt(u**2 + v**2)
    radius[height // 2, width // 2] = 1
    theta = np.arctan2(-v, u)
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    energy_of_all, amplitude_of_all = 0.0, 0.0
    for orientation in range(4):
        angle = orientation * math.pi / 4
        sine = np.sin(theta) * math.cos(angle) - np.cos(theta) * math.sin(angle)
        cosine = np.cos(theta) * math.cos(angle) + np.sin(theta) * math.sin(angle)
        spread = np.exp(-(np.abs(np.arctan2(sine, cosine)) ** 2) / (2 * (math.pi / 4 / 1.2) ** 2))
        responses, kernels, filters = [], [], []
        for scale in range(4):
            centre = 1 / (6 * 2**scale)
            gabor = np.exp(-(np.log(radius / centre) ** 2) / (2 * math.log(0.55) ** 2)) / (1 + (radius / 0.45) ** 30)
            gabor[height // 2, width // 2] = 0
            filters.append(gabor * spread)
            responses.append(np.fft.ifft2(np.fft.ifftshift(spectrum * filters[-1])))
            kernels.append(np.fft.ifft2(np.fft.ifftshift(filters[-1])).real * math.sqrt(height * width))
        even, odd = sum(r.real for r in responses), sum(r.imag for r in responses)
        length = np.sqrt(even**2 + odd**2) + 1e-4
        energy = sum(
            r.real * even / length + r.imag * odd / length - np.abs(r.real * odd / length - r.imag * even / length)
            for r in responses
        )
        noise_power = np.median(np.abs(responses[0]) ** 2) / math.log(2) / np.sum(filters[0] ** 2)
        squares = sum(np.sum(kernel**2) for kernel in kernels)
        products = sum(np.sum(kernels[i] * kernels[j]) for i in range(4) for j in range(i + 1, 4))
        tau = math.sqrt((2 * noise_power * squares + 4 * noise_power * products) / 2)
        threshold = (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7
        energy_of_all = energy_of_all + np.maximum(energy - threshold, 0)
        amplitude_of_all = amplitude_of_all + sum(np.abs(r) for r in responses)
    return energy_of_all / amplitude_of_all


def slow_gradient(image: np.ndarray) -> np.ndarray:
    kernel = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    across, down = (convolve2d(image, k, mode="same") for k in (kernel, kernel.T))
    return np.sqrt(across**2 + down**2)


def slow_fsim(first: np.ndarray, second: np.ndarray, simplified: bool) -> float:
    gradients = [slow_gradient(image) for image in (first, second)]
    maps = [g / g.max() for g in gradients] if simplified else [slow_phase_congruency(i) for i in (first, second)]
    total, weights = 0.0, 0.0
    for p, q, g, h in zip(*(m.ravel() for m in (*maps, *gradients)), strict=True):
        likeness = (2 * p * q + 0.85) / (p * p + q * q + 0.85) * (2 * g * h + 160) / (g * g + h * h + 160)
        total, weights = total + likeness * max(p, q), weights + max(p, q)
    return total / weights


@pytest.fixture
def images(random) -> ImagePack:
    """Blurred noise, a disc and a ramp: edges of all kinds, black background."""
    y, x = np.mgrid[:24, :32]
    disc = 200 * ((x - 12) ** 2 + (y - 10) ** 2 < 60)
    noise = convolve2d(random.integers(0, 256, (24, 32)), np.ones((3, 3)) / 9, mode="same")
    ramp = np.where(x > 8, 6.0 * x, 0)
    return ImagePack(np.stack([disc, noise, ramp, 0.6 * disc + 0.4 * noise]).astype(np.uint8), list("abcd"))


def test_phase_congruency_agrees_with_the_papers(images):
    for image in images.images.astype(np.float64):
        expected = slow_phase_congruency(image)
        np.testing.assert_allclose(phase_congruency(image), expected, rtol=0, atol=1e-10)
        assert expected.min() >= 0
        assert 0.3 < expected.max() <= 1


@pytest.mark.parametrize("variant", FsimVariant)
def test_scores_agree_with_the_papers(images, variant):
    scores = all_scores(FsimComparison(images, images, threads=2, variant=variant))
    values = images.images.astype(np.float64)
    expected = [[slow_fsim(a, b, variant is FsimVariant.SIMPLIFIED) for b in values] for a in values]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.diag(scores), 1, atol=1e-6)


def test_an_edge_has_phase_congruency_whatever_its_height():
    edge = np.zeros((32, 32))
    edge[:, 16:] = 1
    weak, strong = phase_congruency(20 * edge), phase_congruency(200 * edge)
    assert weak[16, 15:17].max() > 0.5
    np.testing.assert_allclose(weak, strong, atol=0.01)


def test_large_images_are_averaged_down(random):
    image = np.kron(random.integers(0, 256, (256, 300)), np.ones((2, 2)))
    small, _ = fsim_maps(image, FsimVariant.SIMPLIFIED)
    assert small.shape == (256, 300)
    expected = slow_gradient(image[::2, ::2])  # windows of 2x2 lie on the blocks
    np.testing.assert_allclose(small, expected / expected.max(), atol=1e-12)


def test_bit_depth_is_a_matter_of_scale(images):
    wide = ImagePack(images.images.astype(np.uint16) * 257, images.keys)
    np.testing.assert_allclose(
        all_scores(FsimComparison(wide, wide)), all_scores(FsimComparison(images, images)), atol=1e-6
    )


def test_a_pair_scores_the_same_in_any_company(images, random):
    many = ImagePack(random.integers(0, 256, (70, 24, 32), dtype=np.uint8), [str(n) for n in range(70)])
    whole = all_scores(FsimComparison(images, many))
    np.testing.assert_array_equal(whole, all_scores(FsimComparison(images, many, threads=2)))
    rows, columns = random.integers(0, 4, 30), random.integers(0, 70, 30)
    np.testing.assert_array_equal(pair_scores(FsimComparison(images, many), rows, columns), whole[rows, columns])


def test_unusable_images_are_named(images):
    flat = ImagePack(np.full((2, 24, 32), 7, np.uint8), ["flat", "too"])
    with pytest.raises(DataError, match="2 of 2 images are constant.*first 'flat'"):
        all_scores(FsimComparison(images, flat))
    with pytest.raises(DataError, match="4x4 are smaller than the 8x8"):
        FsimComparison(*(ImagePack(np.zeros((1, 4, 4), np.uint8), ["a"]),) * 2)
