"""What every change keeps: shape, type, the original, and that it depends on the image's key only. Strengths: test_changes.py."""

import numpy as np
import pytest

from deepssim.images.distort import DISTORTIONS, UNCHANGED, distort
from deepssim.images.packs import ImagePack
from tests.audit.folders import picture

# Blurs much narrower than a pixel, such as LCMem's weakest at any usual size and 2 of 512 pixels at 64.
TOO_WEAK = {UNCHANGED, "blur 0.1 of 512 px", "blur 1 of 512 px", "blur 2 of 512 px"}
DRAWN = {
    "rotation 20°",
    "shift 5 %",
    "crop 20 %",
    "warp 3 of 256 px",
    "bias field 0.4",
    "noise 0.1",
    "soft",
    "random flips, rotation and gamma",
}


def make_pack(random, height=64, width=64, bits=8, keys=("a", "b", "c")):
    smooth = np.stack([picture(random, max(height, width))[:height, :width] for _ in keys])
    images = smooth // 2 + random.integers(0, 128, smooth.shape, dtype=np.uint8)  # detail for weak blurs to remove
    return ImagePack(images if bits == 8 else images.astype(np.uint16) * 257, list(keys))


@pytest.mark.parametrize(("height", "width", "bits"), [(64, 64, 8), (48, 64, 16), (64, 50, 8)])
@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_copy_differs_from_its_original_in_pixels_only(random, name, height, width, bits):
    pack = make_pack(random, height, width, bits)
    before = pack.images.copy()
    changed = distort(pack, name, 0)
    assert changed.keys == pack.keys
    assert changed.images.shape == pack.images.shape
    assert changed.images.dtype == pack.images.dtype
    np.testing.assert_array_equal(pack.images, before)
    assert (changed.images != before).any(axis=(1, 2)).all() or name in TOO_WEAK
    assert not np.shares_memory(changed.images, pack.images)


@pytest.mark.parametrize("name", [UNCHANGED, "blur 0.1 of 512 px"])
@pytest.mark.parametrize("bits", [8, 16])
def test_no_distortion_is_none(random, name, bits):
    pack = make_pack(random, 512, 64, bits)
    np.testing.assert_array_equal(distort(pack, name, 0).images, pack.images)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_16_bits_are_distorted_as_8_bits_are(random, name):
    pack = make_pack(random)
    fine = ImagePack(pack.images.astype(np.uint16) * 257, pack.keys)
    small, large = distort(pack, name, 0).unit(), distort(fine, name, 0).unit()
    assert np.abs(small - large).max() <= 0.51 / 255


@pytest.mark.parametrize("name", DISTORTIONS)
def test_an_image_is_distorted_alike_whatever_comes_with_it(random, name):
    pack = make_pack(random)
    alone = ImagePack(pack.images[1:2], ["b"])
    np.testing.assert_array_equal(distort(alone, name, 3, others=pack).images[0], distort(pack, name, 3).images[1])
    backwards = distort(ImagePack(pack.images[::-1], pack.keys[::-1]), name, 3)
    np.testing.assert_array_equal(backwards.images[::-1], distort(pack, name, 3).images)


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_random_changes_depend_on_seed_and_key(random, name):
    image = picture(random, 64)
    pack = ImagePack(np.stack([image, image, image, image]), ["a", "b", "c", "d"])
    first, second = distort(pack, name, 0).images, distort(pack, name, 1).images
    assert len(np.unique(first, axis=0)) > 1
    assert (first != second).any()
    np.testing.assert_array_equal(first, distort(pack, name, 0).images)


def test_an_empty_pack_stays_empty():
    for name in DISTORTIONS:
        assert distort(ImagePack(np.zeros((0, 8, 8), np.uint8), []), name, 0).images.shape == (0, 8, 8)


def test_a_quarter_comes_from_the_image_with_the_next_key():
    levels = {"d": 40, "a": 10, "c": 30, "b": 20}
    pack = ImagePack(np.stack([np.full((7, 10), level, np.uint8) for level in levels.values()]), list(levels))
    changed = distort(pack, "a quarter replaced", 0)
    for key, partner in zip("abcd", "bcda", strict=True):
        image = changed.images[changed.index[key]]
        assert set(np.unique(image)) == {levels[key], levels[partner]}
        assert (image == levels[partner]).sum() in (3 * 5, 4 * 5)  # of seven rows, the lower half has four


def test_every_quarter_is_replaced_at_times():
    images = np.zeros((40, 8, 8), np.uint8)
    images[1::2] = 255
    pack = ImagePack(images, [f"{n:02d}" for n in range(40)])
    changed = distort(pack, "a quarter replaced", 0).images != images
    assert (changed.sum(axis=(1, 2)) == 16).all()
    assert {(int(part.any(axis=1).argmax()), int(part.any(axis=0).argmax())) for part in changed} == {
        (0, 0), (0, 4), (4, 0), (4, 4),
    }  # fmt: skip


def test_one_image_has_no_other_to_mix_with(random):
    pack = make_pack(random, keys=("only",))
    with pytest.raises(ValueError, match="'only' is to be mixed"):
        distort(pack, "a quarter replaced", 0)
    with pytest.raises(ValueError, match="'only' is to be mixed"):
        distort(pack, "a quarter replaced", 0, others=pack)
    with pytest.raises(ValueError, match=r"expected others of shape \(64, 64\)"):
        distort(pack, "a quarter replaced", 0, others=make_pack(random, 128, 128))
    assert (distort(pack, "rotation 5°", 0).images != pack.images).any()
