"""The engine for volumes agrees with scikit-image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepssim.config.choices import Contrast, Device, MetricName
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, make_virtual_volume
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.metrics import METRICS
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.ssim_volumes import SsimVolumeComparison
from deepssim.similarity.tiles import all_scores, pair_scores
from deepssim.similarity.topk import top_k

EXACT = 1e-6


def z_scored(volume):
    values = volume.astype(np.float64)
    return (values - values.mean()) / values.std()


def by_scikit_image(real: ImagePack, synthetic: ImagePack) -> np.ndarray:
    rows, columns = ([z_scored(volume) for volume in pack.images] for pack in (real, synthetic))
    return np.array([[structural_similarity(a, b, data_range=np.ptp(a)) for b in columns] for a in rows])


def ssim_matrix(real: ImagePack, synthetic: ImagePack, threads: int = 1, **options) -> np.ndarray:
    return all_scores(SsimVolumeComparison(real, synthetic, threads=threads, **options))


def pack_of(volumes) -> ImagePack:
    return ImagePack(np.stack(volumes), [str(n) for n in range(len(volumes))])


@pytest.fixture(scope="module")
def heads() -> ImagePack:
    patients = [make_patient(number, VirtualPatientsConfig(), 0) for number in range(3)]
    scans = [
        make_virtual_volume(patient, contrast, (16, 20, 18), visit=visit, movement=0.2).values
        for patient in patients
        for contrast, visit in ((Contrast.T1, 0), (Contrast.T1, 1), (Contrast.T2, 0))
    ]
    return pack_of([quantise(scan, 8) for scan in scans])


@pytest.mark.parametrize("shape", [(7, 7, 7), (7, 9, 20), (15, 8, 7), (17, 16, 19)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_agrees_with_scikit_image_on_noise(random, shape, kind):
    real, synthetic = (pack_of(random.integers(0, np.iinfo(kind).max, (n, *shape), dtype=kind)) for n in (2, 3))
    np.testing.assert_allclose(ssim_matrix(real, synthetic), by_scikit_image(real, synthetic), rtol=0, atol=EXACT)


def test_agrees_with_scikit_image_on_heads(heads):
    scores = ssim_matrix(heads, heads)
    np.testing.assert_allclose(scores, by_scikit_image(heads, heads), rtol=0, atol=EXACT)
    assert np.allclose(np.diag(scores), 1)
    assert scores[0, 1] > scores[0, 3] + 0.05  # the same patient at another visit, another patient


def test_sums_that_exceed_32_bits_are_exact():
    """Half of each volume black, half white: the largest products and covariances that 8 bits allow."""
    first, second, third = (np.zeros((9, 9, 9), np.uint8) for _ in range(3))
    first[:, :, 4:], second[:, 4:], third[:] = 255, 255, 255
    third[0, 0, 0] = 0
    pack = pack_of([first, second, third, 255 - first])
    np.testing.assert_allclose(ssim_matrix(pack, pack), by_scikit_image(pack, pack), rtol=0, atol=EXACT)


def test_agrees_on_floats_with_a_large_offset(random):
    pack = pack_of((random.random((3, 9, 10, 11)) + 1e4).astype(np.float32))
    np.testing.assert_allclose(ssim_matrix(pack, pack), by_scikit_image(pack, pack), rtol=0, atol=EXACT)


def test_tiles_threads_lists_and_pairs_give_the_same_bits(random):
    real, synthetic = (pack_of(random.integers(0, 256, (n, 8, 9, 10), dtype=np.uint8)) for n in (5, 70))
    whole = ssim_matrix(real, synthetic)
    np.testing.assert_array_equal(whole, ssim_matrix(real, synthetic, threads=2))
    part = ssim_matrix(real.select(["3"]), synthetic.select(["64", "7"]))
    np.testing.assert_array_equal(part, whole[3:4, [64, 7]])
    comparison = SsimVolumeComparison(real, synthetic)
    rows, columns = np.array([4, 0, 4]), np.array([69, 3, 0])
    np.testing.assert_array_equal(pair_scores(comparison, rows, columns), whole[rows, columns])
    best, _ = top_k(comparison, 2, threads=1, columns=False)
    np.testing.assert_array_equal(best.scores[:, 0], whole.max(axis=1))


def test_the_range_is_that_of_the_real_volume(heads):
    scores = ssim_matrix(heads, heads)
    assert np.abs(scores - scores.T).max() > 1e-5
    symmetric = ssim_matrix(heads, heads, symmetric=True)
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-6)


def test_the_metric_takes_volumes_and_images(heads):
    comparison = METRICS[MetricName.SSIM].compare(heads, heads, 1, Device.CPU)
    assert isinstance(comparison, SsimVolumeComparison)
    flat = ImagePack(heads.images[:, 8], heads.keys)
    assert type(METRICS[MetricName.SSIM].compare(flat, flat, 1, Device.CPU)) is SsimComparison
    with pytest.raises(ValueError, match="expected images of 2 dimensions, got 3"):
        SsimComparison(heads, heads)


def test_small_and_constant_volumes_are_refused(random):
    small = pack_of(random.integers(0, 256, (2, 6, 9, 9), dtype=np.uint8))
    with pytest.raises(DataError, match="6x9x9 are smaller than the 7x7x7 minimum"):
        ssim_matrix(small, small)
    flat = pack_of([np.full((8, 8, 8), 3, np.uint8), random.integers(0, 256, (8, 8, 8), dtype=np.uint8)])
    with pytest.raises(DataError, match="1 of 2 images are constant .* first '0'"):
        ssim_matrix(flat, flat)
