import numpy as np
import pytest
import torch

from deepssim.errors import DataError
from deepssim.images.standardize import fit, quantise, stretch, window, zscore, zscore_batch


def test_window_uses_the_foreground_only():
    values = np.array([0.0] * 90 + list(range(1, 11)))
    mapped = window(values, (0, 100))
    assert mapped[:90].max() == 0
    assert mapped[-1] == 1
    np.testing.assert_allclose(mapped[90], 0.1)  # black stays 0, so 1 of 10 is a tenth


def test_window_of_nothing_is_black():
    assert not window(np.zeros((3, 3)), (1, 99)).any()


def test_window_maps_negative_values_too():
    np.testing.assert_allclose(window(np.array([-1000.0, 1000.0]), (0, 100)), [0, 1])


def test_fit_keeps_the_aspect_ratio():
    image = np.ones((20, 10), np.float32)
    fitted = fit(image, (10, 10))
    assert fitted.shape == (10, 10)
    columns = fitted[5] > 0.5
    assert columns.sum() in (4, 5, 6)  # half the width is image, the rest padding
    assert not columns[0]
    assert not columns[-1]


def test_fit_leaves_the_right_size_alone(random):
    image = random.random((8, 12), dtype=np.float32)
    assert fit(image, (8, 12)) is image


@pytest.mark.parametrize(("depth", "top"), [(8, 255), (16, 65535)])
def test_quantise_covers_the_range_and_rounds(depth, top):
    assert quantise(np.array([-1, 0, 0.5, 1, 2.0]), depth).tolist() == [0, 0, round(0.5 * top), top, top]


def test_eight_bits_survive_reading_and_writing():
    levels = np.arange(256, dtype=np.uint8)
    assert (quantise(levels.astype(np.float32) / np.float32(255), 8) == levels).all()


def test_stretch_maps_each_image_alone():
    images = np.array([[[2.0, 4.0]], [[7.0, 7.0]]])
    np.testing.assert_array_equal(stretch(images), [[[0, 1]], [[0, 0]]])


def test_zscore_has_population_deviation_one(random):
    images = random.integers(0, 255, (2, 9, 9), dtype=np.uint8)
    scores = zscore(images, ["a", "b"])
    np.testing.assert_allclose(scores.mean(axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(scores.std(axis=(1, 2)), 1)
    on_device = zscore_batch(torch.from_numpy(images[:, None].astype(np.float32)))[:, 0]
    np.testing.assert_allclose(on_device.numpy(), scores, atol=1e-5)


def test_a_constant_image_has_no_zscore():
    with pytest.raises(DataError, match="1 of 2 images are constant.*first 'flat'"):
        zscore(np.stack([np.eye(8), np.ones((8, 8))]), ["fine", "flat"])


def test_an_offset_leaves_an_image_its_contrast():
    """Signed numbers that were stored as unsigned ones lie about 32768: from zero on they would fill a few grey levels."""
    image = np.random.default_rng(0).uniform(0, 3000, (16, 16))
    shown = window(image + 30_000, (1, 99))
    np.testing.assert_allclose(
        shown, np.clip((image - np.percentile(image, 1)) / np.ptp(np.percentile(image, (1, 99))), 0, 1), atol=1e-5
    )
    np.testing.assert_array_equal(
        window(np.where(image > 1500, 1.0, 0.0), (1, 99)), image > 1500
    )  # a mask keeps its two values
