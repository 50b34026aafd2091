"""The engine agrees with scikit-image, on real images and on the hard cases."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepssim.config.settings import parse_config
from deepssim.datasets.prepare import prepare_dataset
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import all_scores, pair_scores

EXACT = 1e-6


def by_scikit_image(real: ImagePack, synthetic: ImagePack) -> np.ndarray:
    rows, columns = zscore(real.images, real.keys), zscore(synthetic.images, synthetic.keys)
    return np.array([[structural_similarity(a, b, data_range=np.ptp(a)) for b in columns] for a in rows])


def ssim_matrix(real: ImagePack, synthetic: ImagePack, threads: int = 1, **options) -> np.ndarray:
    return all_scores(SsimComparison(real, synthetic, threads=threads, **options))


def pack_of(images) -> ImagePack:
    return ImagePack(np.stack(images), [str(n) for n in range(len(images))])


@pytest.mark.parametrize("shape", [(7, 7), (7, 30), (33, 8), (40, 64)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_agrees_with_scikit_image_on_noise(random, shape, kind):
    real, synthetic = (pack_of(random.integers(0, np.iinfo(kind).max, (n, *shape), dtype=kind)) for n in (3, 4))
    np.testing.assert_allclose(ssim_matrix(real, synthetic), by_scikit_image(real, synthetic), rtol=0, atol=EXACT)


def test_agrees_on_flat_regions_and_single_pixels():
    spot, block, ramp = (np.zeros((20, 30), np.uint8) for _ in range(3))
    spot[4, 5] = 255
    block[5:12, 5:20] = 200
    ramp[:] = np.arange(30)
    pack = pack_of([spot, block, ramp])
    np.testing.assert_allclose(ssim_matrix(pack, pack), by_scikit_image(pack, pack), rtol=0, atol=EXACT)


@pytest.mark.parametrize("table", ["brain_slices.csv", "chest_xray.csv"])
def test_agrees_on_real_images(real_data, table):
    options = {"kind": "table", "path": str(real_data / table), "image_size": [136, 112]}
    _, pack = prepare_dataset(parse_config({"dataset": options}).dataset, seed=0, threads=2)
    real, synthetic = pack.select(pack.keys[:200:20]), pack.select(pack.keys[7:300:30])
    np.testing.assert_allclose(
        ssim_matrix(real, synthetic, threads=2), by_scikit_image(real, synthetic), rtol=0, atol=EXACT
    )


@pytest.mark.parametrize("offset", [1e3, -1e4, 1e5])
def test_agrees_on_floats_with_a_large_offset(random, offset):
    """A CT in Hounsfield units, or a signal on a high baseline; the reference z-scores in float64."""
    noise = random.random((4, 24, 30)) + np.linspace(0, 2, 30)
    pack = pack_of((noise + offset).astype(np.float32))
    np.testing.assert_allclose(ssim_matrix(pack, pack), by_scikit_image(pack, pack), rtol=0, atol=EXACT)


def test_integers_and_fractions_score_the_same(random):
    """Images that contain 0 are not shifted; a shift by a whole number changes no 16-bit score."""
    images = random.integers(0, 65536, (3, 16, 16), dtype=np.uint16)
    images[:, 0, 0] = 0
    whole, floating = pack_of(images), pack_of(images.astype(np.float32))
    np.testing.assert_array_equal(ssim_matrix(whole, whole), ssim_matrix(floating, floating))


def test_only_identical_images_score_one(random):
    image = random.integers(0, 255, (16, 16), dtype=np.uint8)
    scores = ssim_matrix(pack_of([image]), pack_of([image, 255 - image]))
    assert scores[0, 0] == 1
    assert scores[0, 1] < 0.9


def test_range_is_that_of_the_real_image(packs):
    real, synthetic = packs
    there, back = ssim_matrix(real, synthetic), ssim_matrix(synthetic, real)
    assert np.abs(there - back.T).max() > 1e-5


def test_threads_change_nothing(packs):
    np.testing.assert_array_equal(ssim_matrix(*packs, threads=1), ssim_matrix(*packs, threads=2))


def test_columns_are_independent(packs):
    real, synthetic = packs
    part = synthetic.select(synthetic.keys[3:7])
    np.testing.assert_array_equal(ssim_matrix(real, synthetic)[:, 3:7], ssim_matrix(real, part))


def test_a_pair_scores_the_same_in_any_company(random):
    """More images than one block of lanes holds, in tiles, alone, and as a list of pairs: the same to the last bit."""
    real, synthetic = (pack_of(random.integers(0, 256, (n, 9, 11), dtype=np.uint8)) for n in (5, 150))
    whole = ssim_matrix(real, synthetic)
    rows, columns = random.integers(0, 5, 40), random.integers(0, 150, 40)
    np.testing.assert_array_equal(pair_scores(SsimComparison(real, synthetic), rows, columns), whole[rows, columns])
    part = synthetic.select(synthetic.keys[70:73])
    np.testing.assert_array_equal(ssim_matrix(real.select(real.keys[2:]), part), whole[2:, 70:73])


def test_symmetric_only_when_asked_for(packs):
    real, synthetic = packs
    there, back = ssim_matrix(real, synthetic, symmetric=True), ssim_matrix(synthetic, real, symmetric=True)
    np.testing.assert_allclose(there, back.T, rtol=0, atol=1e-7)
    larger = np.maximum(ssim_matrix(real, synthetic), ssim_matrix(synthetic, real).T)
    np.testing.assert_allclose(there, larger, rtol=0, atol=0.01)  # of about equal ranges, either is near


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pixel_that_is_not_finite_is_named(bad):
    images = np.ones((2, 8, 8))
    images[:, 0, 0] = 2
    images[1, 3, 3] = bad
    pack = ImagePack(images, ["good", "bad"])
    with pytest.raises(DataError, match="1 of 2 images are constant or not finite.*first 'bad'"):
        ssim_matrix(pack.select(["good"]), pack)


def test_unusable_images_are_named(packs):
    real, _ = packs
    with pytest.raises(DataError, match="real images are 16x24 and synthetic ones 8x8"):
        ssim_matrix(real, pack_of([np.eye(8, dtype=np.uint8)]))
    with pytest.raises(DataError, match="6x6 are smaller than the 7x7"):
        ssim_matrix(*(pack_of([np.eye(6, dtype=np.uint8)]),) * 2)
    flat = ImagePack(np.zeros((1, 16, 24), np.uint8), ["flat"])
    with pytest.raises(DataError, match="1 of 1 images are constant.*'flat'"):
        ssim_matrix(real, flat)


@pytest.mark.parametrize("level", [0, 100, 250])
@pytest.mark.parametrize("depth", [5, 255])
def test_bright_images_of_little_contrast_are_exact(random, level, depth):
    """Covariances are small differences of large sums: 1e-7 in float32 needs sums of products without rounding."""
    high = min(255, level + depth)
    real, synthetic = (
        pack_of(random.integers(level, high, (n, 40, 36), dtype=np.uint8, endpoint=True)) for n in (6, 20)
    )
    blended = synthetic.images.copy()
    blended[:6] = real.images  # copies, whose scores are 1
    synthetic = pack_of(blended)
    np.testing.assert_allclose(ssim_matrix(real, synthetic), by_scikit_image(real, synthetic), rtol=0, atol=2e-7)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 43])
def test_groups_of_real_images_change_nothing(random, count):
    """Real images are compared four by four, in parts that fit into the cache, and the last ones alone."""
    real, synthetic = (pack_of(random.integers(0, 256, (n, 80, 120), dtype=np.uint8)) for n in (count, 18))
    whole = ssim_matrix(real, synthetic)
    alone = [ssim_matrix(real.select([key]), synthetic)[0] for key in real.keys]
    np.testing.assert_array_equal(whole, alone)
