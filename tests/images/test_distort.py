import numpy as np
import pytest

from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack
from deepssim.similarity.ssim import ssim_of_arrays
from tests.audit.folders import picture


@pytest.fixture
def pack(random):
    return ImagePack(np.stack([picture(random, 64) for _ in range(3)]), ["a", "b", "c"])


@pytest.mark.parametrize("name", [name for name in DISTORTIONS if name != "none"])
def test_distortions_change_the_image_but_not_what_it_shows(pack, name):
    changed = distort(pack, name, 0)
    assert changed.images.shape == pack.images.shape
    assert changed.images.dtype == np.uint8
    assert (changed.images != pack.images).any(axis=(1, 2)).all()
    back = {"flip left-right": (..., slice(None, None, -1)), "flip up-down": (..., slice(None, None, -1), slice(None))}
    restored = changed.images[back[name]] if name in back else changed.images
    scores = ssim_of_arrays(pack.images, restored)
    assert (scores.argmax(axis=0) == np.arange(3)).all()
    assert (scores.diagonal() < 1).all() or name in back


def test_no_distortion_is_none(pack):
    np.testing.assert_array_equal(distort(pack, "none", 0).images, pack.images)


def test_an_image_is_distorted_alike_whoever_comes_with_it(pack):
    alone = distort(ImagePack(pack.images[1:2], ["b"]), "noise", 3)
    np.testing.assert_array_equal(alone.images[0], distort(pack, "noise", 3).images[1])
    assert (alone.images[0] != distort(pack, "noise", 4).images[1]).any()


def test_noise_and_contrast_are_as_strong_as_said(pack):
    middle = ImagePack(np.full((1, 64, 64), 128, np.uint8), ["x"])
    assert distort(middle, "noise", 0).images.std() == pytest.approx(0.03 * 255, rel=0.1)
    gamma = np.log(distort(middle, "contrast", 0).images[0, 0, 0] / 255) / np.log(128 / 255)
    assert gamma == pytest.approx(0.5, abs=0.01) or gamma == pytest.approx(1.5, abs=0.01)
