"""FSIM agrees with slow implementations, one pair and one filter at a time: of the papers, and of the reference's variant."""

import math

import numpy as np
import pytest
from scipy.signal import convolve2d

from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.similarity.fsim import FsimComparison, FsimVariant, fsim_maps, phase_congruency
from deepssim.similarity.tiles import all_scores, pair_scores


def slow_frequencies(size: int) -> np.ndarray:
    """The grid of phasecong2.m: the frequencies of odd sizes reach 0.5 on both sides."""
    if size % 2:
        return np.linspace(-0.5, 0.5, size)
    return np.arange(-size // 2, size // 2) / size


def slow_phase_congruency(image: np.ndarray) -> np.ndarray:
    """Kovesi 1999 with FSIM's settings, on a centred frequency grid."""
    height, width = image.shape
    v, u = np.meshgrid(slow_frequencies(height), slow_frequencies(width), indexing="ij")
    radius = np.sqrt(u**2 + v**2)
    radius[height // 2, width // 2] = 1
    theta = np.arctan2(-v, u)
    spectrum = np.fft.fftshift(np.fft.fft2(image))
    energy_of_all: np.ndarray | float = 0.0
    amplitude_of_all: np.ndarray | float = 0.0
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
    return np.asarray(energy_of_all / amplitude_of_all)


def slow_gradient(image: np.ndarray) -> np.ndarray:
    kernel = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    across, down = (convolve2d(image, k, mode="same") for k in (kernel, kernel.T))
    return np.sqrt(across**2 + down**2)


def slow_average(image: np.ndarray, factor: int) -> np.ndarray:
    """MATLAB's conv2(image, fspecial('average', factor), 'same'), every `factor`-th pixel: zeros beyond the border."""
    full = convolve2d(image, np.full((factor, factor), 1 / factor**2))
    first = factor // 2  # of the central part, counted from zero
    return full[first : first + image.shape[0], first : first + image.shape[1]][::factor, ::factor]


def slow_simplified_maps(image: np.ndarray) -> list[np.ndarray]:
    """The reference's two maps pixel by pixel: central differences (one-sided at the border), and Sobel's sums.

    OpenCV's filter2D continues the image by reflection at the centre of its outermost pixels.
    """
    height, width = image.shape
    differences, sobel = np.zeros(image.shape), np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            up, down, left, right = max(y - 1, 0), min(y + 1, height - 1), max(x - 1, 0), min(x + 1, width - 1)
            by_row = (image[down, x] - image[up, x]) / (down - up)
            by_column = (image[y, right] - image[y, left]) / (right - left)
            differences[y, x] = math.sqrt(by_row**2 + by_column**2)
            above, below = abs(y - 1), height - 1 - abs(height - 2 - y)
            before, after = abs(x - 1), width - 1 - abs(width - 2 - x)
            across = sum(w * (image[r, before] - image[r, after]) for r, w in ((above, 1), (y, 2), (below, 1)))
            along = sum(w * (image[above, c] - image[below, c]) for c, w in ((before, 1), (x, 2), (after, 1)))
            sobel[y, x] = math.sqrt(across**2 + along**2)
    return [differences / (differences.max() + 1e-8), sobel]


def slow_maps(image: np.ndarray, simplified: bool) -> list[np.ndarray]:
    return slow_simplified_maps(image) if simplified else [slow_phase_congruency(image), slow_gradient(image)]


def slow_fsim(first: np.ndarray, second: np.ndarray, simplified: bool) -> float:
    (p_map, g_map), (q_map, h_map) = (slow_maps(image, simplified) for image in (first, second))
    total, weights = 0.0, 0.0
    for p, q, g, h in zip(*(m.ravel() for m in (p_map, q_map, g_map, h_map)), strict=True):
        likeness = (2 * p * q + 0.85) / (p * p + q * q + 0.85) * (2 * g * h + 160) / (g * g + h * h + 160)
        total, weights = total + likeness * max(p, q), weights + max(p, q)
    return total / weights


@pytest.fixture(params=[(24, 32), (25, 31), (24, 33)], ids=str)
def images(random, request) -> ImagePack:
    """Blurred noise, a disc and a ramp: edges of all kinds, black background."""
    height, width = request.param
    y, x = np.mgrid[:height, :width]
    disc = 200 * ((x - 12) ** 2 + (y - 10) ** 2 < 60)
    noise = convolve2d(random.integers(0, 256, (height, width)), np.ones((3, 3)) / 9, mode="same")
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


@pytest.mark.parametrize(
    ("side", "factor"), [(383, 1), (384, 2), (512, 2), (639, 2), (640, 3), (896, 4), (1152, 5), (1664, 7)]
)
def test_large_images_are_averaged_down(random, side, factor):
    """By the shorter side over 256, where halves are rounded up."""
    image = random.integers(0, 256, (side, side + 12)).astype(np.float64)
    expected = slow_average(image, factor)
    assert expected.shape == (-(-side // factor), -(-(side + 12) // factor))
    congruency, gradient = fsim_maps(image, FsimVariant.PHASE_CONGRUENCY)
    np.testing.assert_allclose(gradient, slow_gradient(expected), atol=1e-9)
    np.testing.assert_allclose(congruency, slow_phase_congruency(expected), atol=1e-9)


def test_the_simplified_variant_keeps_the_size(random):
    congruency, gradient = fsim_maps(random.integers(0, 256, (640, 650)), FsimVariant.SIMPLIFIED)
    assert congruency.shape == gradient.shape == (640, 650)
    assert congruency.max() == 1


def test_the_simplified_gradient_by_hand():
    """A step of 100 between two columns: the kernel's weights add up to 4, and mirroring hides the border."""
    image = np.zeros((8, 9))
    image[:, 4:] = 100
    congruency, gradient = fsim_maps(image, FsimVariant.SIMPLIFIED)
    step = np.isin(np.arange(9), (3, 4))
    np.testing.assert_array_equal(gradient, np.tile(400.0 * step, (8, 1)))
    np.testing.assert_array_equal(congruency, np.tile(1.0 * step, (8, 1)))


def test_bit_depth_is_a_matter_of_scale(images):
    wide = ImagePack(images.images.astype(np.uint16) * 257, images.keys)
    np.testing.assert_allclose(
        all_scores(FsimComparison(wide, wide)), all_scores(FsimComparison(images, images)), atol=1e-6
    )


def test_a_pair_scores_the_same_in_any_company(images, random):
    size = images.images.shape[1:]
    many = ImagePack(random.integers(0, 256, (70, *size), dtype=np.uint8), [str(n) for n in range(70)])
    whole = all_scores(FsimComparison(images, many))
    np.testing.assert_array_equal(whole, all_scores(FsimComparison(images, many, threads=2)))
    rows, columns = random.integers(0, 4, 30), random.integers(0, 70, 30)
    np.testing.assert_array_equal(pair_scores(FsimComparison(images, many), rows, columns), whole[rows, columns])


def test_unusable_images_are_named(images):
    flat = ImagePack(np.full((2, *images.images.shape[1:]), 7, np.uint8), ["flat", "too"])
    with pytest.raises(DataError, match="2 of 2 images are constant.*first 'flat'"):
        all_scores(FsimComparison(images, flat))
    with pytest.raises(DataError, match="4x4 are smaller than the 8x8"):
        FsimComparison(*(ImagePack(np.zeros((1, 4, 4), np.uint8), ["a"]),) * 2)
