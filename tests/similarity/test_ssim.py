"""The engine agrees with scikit-image, on real images and on the hard cases."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepssim.config import parse_config
from deepssim.datasets.prepare import prepare_dataset
from deepssim.errors import DataError
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import zscore
from deepssim.similarity.ssim import ssim_matrix

EXACT = 1e-6


def by_scikit_image(real: ImagePack, synthetic: ImagePack) -> np.ndarray:
    rows, columns = zscore(real.images, real.keys), zscore(synthetic.images, synthetic.keys)
    return np.array([[structural_similarity(a, b, data_range=np.ptp(a)) for b in columns] for a in rows])


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


def test_unusable_images_are_named(packs):
    real, _ = packs
    with pytest.raises(DataError, match="real images are 16x24 and synthetic ones 8x8"):
        ssim_matrix(real, pack_of([np.eye(8, dtype=np.uint8)]))
    with pytest.raises(DataError, match="6x6 are smaller than SSIM's 7x7"):
        ssim_matrix(*(pack_of([np.eye(6, dtype=np.uint8)]),) * 2)
    flat = ImagePack(np.zeros((1, 16, 24), np.uint8), ["flat"])
    with pytest.raises(DataError, match="1 of 1 images are constant.*'flat'"):
        ssim_matrix(real, flat)
