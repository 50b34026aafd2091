"""FSIM of every real image with every synthetic one.

FSIM compares two maps of each image, phase congruency and gradient magnitude, and weights each pixel by the larger phase
congruency of the two images. The maps are computed once per image; each pair then takes one pass over them.

Source: Zhang, Zhang, Mou, Zhang 2011, doi:10.1109/TIP.2011.2109730; phase congruency as in Kovesi, "Image features from
phase congruency", Videre 1(3), 1999, with the noise threshold of 2 standard deviations that FSIM's authors use. Factor of
downsampling, borders and frequencies are those of the authors' program (FeatureSIM.m with phasecong2). The simplified
variant has the formulas of `src/utils/fsim.py` of github.com/brAIn-science/DeepSSIM.

Not here: tiles and memory (tiles.py), SSIM (ssim.py).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import prange
from scipy.fft import fft2, ifft2, ifftshift
from scipy.ndimage import convolve, uniform_filter

from deepssim.config.choices import FsimVariant
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack, require_same_size
from deepssim.images.standardize import require_zscore
from deepssim.runtime.compilation import compiled
from deepssim.similarity.lanes import LANES, compare_by_row, in_lanes, numba_threads

T1 = 0.85  # stabilises the comparison of phase congruencies, 0 to 1
T2 = 160.0  # stabilises that of gradient magnitudes, for intensities of 0 to 255

_MIN_SIDE = 8  # pixels; on smaller images the widest filter is constant
_COMMON_SIDE = 256  # pixels to which the shorter side of larger images is approximately reduced
_SCALES, _ORIENTATIONS = 4, 4
_SHORTEST_WAVE = 6.0  # pixels
_WAVE_RATIO = 2.0  # between scales
_SIGMA_ON_FREQUENCY = 0.55  # bandwidth of the radial filter
_ANGLE_ON_SIGMA = 1.2  # ratio of the spacing of orientations to the angular filter's standard deviation
_NOISE_DEVIATIONS = 2.0
_EPSILON = 1e-4
_SCHARR = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
_SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])


@dataclass(frozen=True)
class FsimFeatures:
    """FSIM's feature maps of N images: float32 (N, h, w) each.

    Attributes:
        congruency: phase congruency or the simplified map used in its place, 0 to 1.
        gradient: magnitude of the Scharr gradient of intensities of 0 to 255, or of the unscaled Sobel gradient.
    """

    congruency: np.ndarray
    gradient: np.ndarray


class FsimComparison:
    """FSIM between two image packs; see `tiles.Comparison`. Scores are float32, 0 to 1, symmetric.

    Args:
        real: R images of at least 8x8 pixels; 16-bit images are scaled to 0 to 255.
        synthetic: S images of the same size.
        threads: CPU threads; the result does not depend on it.
        variant: phase congruency as published, or the simplified map of DeepSSIM's reference code.

    Raises:
        DataError: if sizes differ or are below 8x8. Preparing an image raises it if the image is constant.
    """

    def __init__(
        self,
        real: ImagePack,
        synthetic: ImagePack,
        *,
        threads: int = 1,
        variant: FsimVariant = FsimVariant.PHASE_CONGRUENCY,
    ) -> None:
        require_same_size(real, synthetic, min_side=_MIN_SIDE)
        self.real, self.synthetic = real, synthetic
        self.threads, self.variant = threads, variant
        self.shape = len(real.keys), len(synthetic.keys)
        self.bytes_held = real.bytes_in_memory + synthetic.bytes_in_memory
        height, width = real.images.shape[1:]
        # Both maps twice, and the pixels; complex filter responses exist for one image at a time and are negligible.
        self.bytes_per_item = height * width * (2 * 8 + 2)

    def prepare_rows(self, rows: Any) -> FsimFeatures:
        """Compute the feature maps of some real images."""
        return self._prepare(self.real, rows)

    def prepare_columns(self, columns: Any) -> FsimFeatures:
        """Compute the feature maps of some synthetic images."""
        return self._prepare(self.synthetic, columns)

    def compare(self, rows: FsimFeatures, columns: FsimFeatures) -> np.ndarray:
        """Score all pairs of prepared images.

        Args:
            rows, columns: features of r real and s synthetic images.

        Returns:
            float32 (r, s).
        """
        count = len(columns.gradient)
        with numba_threads(self.threads):
            lanes = [in_lanes(values) for values in vars(columns).values()]
            scores = np.empty((len(rows.gradient), len(lanes[0]) * LANES), np.float32)
            _all_pairs(rows.congruency, rows.gradient, *lanes, np.float32(T1), np.float32(T2), scores)
        return scores[:, :count]

    def compare_pairs(
        self, rows: FsimFeatures, columns: FsimFeatures, row_of: np.ndarray, column_of: np.ndarray
    ) -> np.ndarray:
        """Score a list of pairs; bitwise equal to the entries of `compare`.

        Args:
            rows, columns: prepared items.
            row_of, column_of: integer (N,), indices into them of each pair.

        Returns:
            float32 (N,).
        """
        return compare_by_row(self.compare, rows, columns, row_of, column_of)

    def _prepare(self, pack: ImagePack, part: Any) -> FsimFeatures:
        images, scale = pack.images[part], 255 / pack.maximum
        require_zscore(images, lambda row: pack.keys[np.arange(len(pack.keys))[part][row]])
        maps = [fsim_maps(image * scale, self.variant) for image in images]
        flat = [row for row, (congruency, _) in enumerate(maps) if not congruency.any()]
        if flat:
            keys = [pack.keys[row] for row in np.arange(len(pack.keys))[part]]
            raise DataError(
                f"{len(flat)} of {len(images)} images have no phase congruency, so FSIM is undefined, first {keys[flat[0]]!r}; "
                "remove them"
            )
        return FsimFeatures(*(np.stack([pair[side] for pair in maps]).astype(np.float32) for side in (0, 1)))


def fsim_maps(image: np.ndarray, variant: FsimVariant) -> tuple[np.ndarray, np.ndarray]:
    """Compute phase congruency (or its simplified form) and gradient magnitude of one image.

    Args:
        image: numeric (H, W), intensities of 0 to 255.
        variant: how phase congruency is computed.

    Returns:
        Two float64 maps of one shape: (H, W), or smaller where `phase_congruency` averages the image down.
    """
    values = image.astype(np.float64)
    if variant is FsimVariant.SIMPLIFIED:
        return _simplified_maps(values)
    small = _averaged_down(values)
    gradient = np.hypot(*(convolve(small, kernel, mode="constant") for kernel in (_SCHARR, _SCHARR.T)))
    return phase_congruency(small), gradient


def _simplified_maps(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the maps of the reference: differences of neighbours, divided by their maximum, and the Sobel gradient.

    Both at the full size of the image. Beyond its borders the image is mirrored without repeating the outermost pixels.
    """
    differences = np.hypot(*np.gradient(image))
    gradient = np.hypot(*(convolve(image, kernel, mode="mirror") for kernel in (_SOBEL, _SOBEL.T)))
    most = differences.max()
    return differences / (most if most > 0 else 1), gradient


def _averaged_down(image: np.ndarray) -> np.ndarray:
    """Reduce an image to about 256 pixels along its shorter side, the scale at which FSIM is defined."""
    factor = max(1, int(min(image.shape) / _COMMON_SIDE + 0.5))  # halves are rounded up, as MATLAB does
    if factor == 1:
        return image
    # A window of even size has no centre pixel; this origin matches a convolution cropped to the image size.
    return uniform_filter(image, factor, mode="constant", origin=-1 if factor % 2 == 0 else 0)[::factor, ::factor]


def phase_congruency(image: np.ndarray) -> np.ndarray:
    """Compute phase congruency over 4 scales and 4 orientations of log-Gabor filters.

    Args:
        image: float64, shape (H, W).

    Returns:
        float64, same shape, 0 to 1: agreement of the phases of all scales, less that expected from noise.
    """
    radial, angular = _filters(image.shape)
    spectrum = fft2(image)
    total_energy, total_amplitude = np.zeros(image.shape), np.zeros(image.shape)
    for spread in angular:
        responses = ifft2(spectrum * radial * spread)
        amplitudes = np.abs(responses)
        mean = responses.sum(axis=0)
        mean /= np.abs(mean) + _EPSILON
        # Component along the mean phase, minus the magnitude of the component orthogonal to it.
        along, across = mean.real * responses.real, mean.imag * responses.imag
        crossed = mean.real * responses.imag - mean.imag * responses.real
        energy = (along + across - np.abs(crossed)).sum(axis=0)
        total_energy += np.maximum(energy - _noise_threshold(amplitudes[0], radial, spread), 0)
        total_amplitude += amplitudes.sum(axis=0)
    return total_energy / np.where(total_amplitude > 0, total_amplitude, 1)


def _noise_threshold(finest: np.ndarray, radial: np.ndarray, spread: np.ndarray) -> float:
    """Estimate the energy that noise alone would produce in one orientation.

    The response at the finest scale is mostly noise; its squared amplitude is exponentially distributed, so its mean is the
    median over -log(0.5). The contribution of the other scales follows from the overlap of the filters.
    """
    filters = radial * spread
    kernels = np.real(ifft2(filters)) * np.sqrt(finest.size)
    power_of_noise = np.median(finest**2) / -np.log(0.5) / (filters[0] ** 2).sum()
    products = np.einsum("ihw,jhw->ij", kernels, kernels)
    noise_energy = power_of_noise * (2 * np.trace(products) + 4 * np.triu(products, 1).sum())
    rayleigh = np.sqrt(noise_energy / 2)
    expected, deviation = rayleigh * np.sqrt(np.pi / 2), np.sqrt((2 - np.pi / 2) * rayleigh**2)
    return float(expected + _NOISE_DEVIATIONS * deviation) / 1.7  # Kovesi's empirical correction of the estimate


@cache
def _filters(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return radial filters (scales, H, W) and angular ones (orientations, H, W), zero frequency at [0, 0]."""
    height, width = shape
    y, x = _frequencies(height)[:, None], _frequencies(width)[None, :]
    radius = np.hypot(x, y)
    radius[0, 0] = 1  # avoids log(0); the filters are set to zero there below
    low_pass = 1 / (1 + (radius / 0.45) ** (2 * 15))  # cuts the spectrum's corners, which depend on orientation
    frequencies = [1 / (_SHORTEST_WAVE * _WAVE_RATIO**scale) for scale in range(_SCALES)]
    radial = np.stack(
        [
            np.exp(-(np.log(radius / frequency) ** 2) / (2 * np.log(_SIGMA_ON_FREQUENCY) ** 2)) * low_pass
            for frequency in frequencies
        ]
    )
    radial[:, 0, 0] = 0
    angle = np.arctan2(-y, x)
    deviation = np.pi / _ORIENTATIONS / _ANGLE_ON_SIGMA
    directions = np.arange(_ORIENTATIONS) * np.pi / _ORIENTATIONS
    distances = [np.abs(np.arctan2(np.sin(angle - direction), np.cos(angle - direction))) for direction in directions]
    return radial, np.stack([np.exp(-(distance**2) / (2 * deviation**2)) for distance in distances])


def _frequencies(size: int) -> np.ndarray:
    """Return the frequencies of a side in cycles per pixel, zero first.

    As in Kovesi's program, those of an odd side range from -0.5 to 0.5, so they are divided by `size - 1`.
    """
    return ifftshift(np.arange(size) - size // 2) / (size - size % 2)


@compiled(parallel=True, fastmath={"contract"})
def _all_pairs(
    congruency: np.ndarray,
    gradient: np.ndarray,
    lane_congruency: np.ndarray,
    lane_gradient: np.ndarray,
    t1: float,
    t2: float,
    scores: np.ndarray,
) -> None:
    count, height, width = gradient.shape
    two = np.float32(2)
    for block in prange(len(lane_gradient)):
        line, weights = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
        total, total_weight = np.empty(LANES), np.empty(LANES)
        for n in range(count):
            for lane in range(LANES):
                total[lane] = 0
                total_weight[lane] = 0
            for y in range(height):
                for lane in range(LANES):
                    line[lane] = 0
                    weights[lane] = 0
                for x in range(width):
                    p, g = congruency[n, y, x], gradient[n, y, x]
                    pp, gg = p * p + t1, g * g + t2
                    for lane in range(LANES):
                        q, h = lane_congruency[block, y, x, lane], lane_gradient[block, y, x, lane]
                        weight = max(p, q)
                        weights[lane] += weight
                        line[lane] += weight * ((two * p * q + t1) * (two * g * h + t2)) / ((pp + q * q) * (gg + h * h))
                for lane in range(LANES):
                    total[lane] += line[lane]
                    total_weight[lane] += weights[lane]
            for lane in range(LANES):
                scores[n, block * LANES + lane] = total[lane] / total_weight[lane]
