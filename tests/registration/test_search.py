import numpy as np
import pytest
from scipy.ndimage import rotate
from skimage.metrics import structural_similarity

from deepssim.registration.search import _rotated, align
from tests.audit.folders import picture


@pytest.fixture
def real(random):
    image = picture(random, 64).astype(np.float32) / 255
    image[:8], image[-8:], image[:, :8], image[:, -8:] = 0, 0, 0, 0  # a rotation leaves a black border black
    return image


@pytest.mark.parametrize("change", ["none", "flip", "upside down", "both", "rotation", "shift", "gamma", "everything"])
def test_what_was_done_is_undone(real, change):
    copies = {
        "none": real,
        "flip": real[:, ::-1],
        "upside down": real[::-1],
        "both": real[::-1, ::-1],
        "rotation": rotate(real, 7.0, reshape=False, order=1),
        "shift": np.roll(real, (1, -2), (0, 1)),
        "gamma": real**1.5,
        "everything": rotate(real[:, ::-1], -5.0, reshape=False, order=1).clip(0, 1) ** 0.67,
    }
    aligned = align(real, np.ascontiguousarray(copies[change], np.float32))
    assert aligned.ssim > 0.9
    scores = [(image - image.mean()) / image.std() for image in (real.astype(float), aligned.image.astype(float))]
    assert aligned.ssim == pytest.approx(
        structural_similarity(*scores, data_range=np.ptp(scores[0])), abs=1e-5
    )  # the same score by scikit-image


def test_other_pictures_do_not_become_copies(real, random):
    scores = [align(real, picture(random, 64).astype(np.float32) / 255).ssim for _ in range(10)]
    assert max(scores) < 0.6


def test_rotation_agrees_with_scipy(real):
    expected = rotate(real, 10.0, reshape=False, order=1)
    np.testing.assert_allclose(_rotated(real, (10.0, 0.0))[0], expected, atol=1e-5)
    np.testing.assert_array_equal(_rotated(real, (10.0, 0.0))[1], real)
