"""Pictures by which a person can check a pair: registration at full resolution, keypoints, copies of parts."""

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from deepssim.audit.pictures import show_pair
from deepssim.images import changes
from deepssim.images.changes import quarter_turn, rotate
from deepssim.registration.overlap import match_histogram

SIZE = (240, 200)


def scan(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Draw an image with structures of many sizes, as of a body on black: float32 (H, W), 0 to 1."""
    random = np.random.default_rng(seed)
    height, width = size
    image = np.zeros(size, np.float32)
    for deviation, weight in ((16, 1.0), (6, 0.7), (2.5, 0.5)):
        noise = cv2.GaussianBlur(random.normal(size=size).astype(np.float32), (0, 0), deviation)
        image += weight * noise / noise.std()
    down, right = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    width_of_body, height_of_body = random.uniform(0.7, 0.95, 2)
    inside = (down / height_of_body) ** 2 + (right / width_of_body) ** 2 < 1
    body = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 3)
    return np.clip((image - image.min()) / np.ptp(image), 0, 1) * body


def ssim(shown) -> float:
    """Return the mean SSIM of the real image and the registered one over their overlap."""
    _, similar = structural_similarity(shown.real, shown.matched, data_range=1.0, full=True)
    return float(similar[cv2.erode(shown.mask.astype(np.uint8), np.ones((7, 7))) > 0].mean())


COPIES = {
    "unchanged": lambda image, random: image,
    "rotated": lambda image, random: rotate(image, random, degrees=20),
    "mirrored": lambda image, random: image[:, ::-1],
    "negative": lambda image, random: 1 - image,
    "quarter turn": lambda image, random: np.rot90(image),
    "quarter turn in the same frame": lambda image, random: quarter_turn(image, random, degrees=90),
    "cropped": lambda image, random: image[20:-20, 16:-16],
    "enlarged": lambda image, random: cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "reduced": lambda image, random: cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
    "squashed": lambda image, random: cv2.resize(image, (200, 200), interpolation=cv2.INTER_AREA),
    "warped": lambda image, random: changes.warp(image, random, deviation=3),
    "gamma": lambda image, random: image**1.6,
    "all at once": lambda image, random: rotate(image[:, ::-1] ** 0.7, random, degrees=8),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_lies_on_its_original(name):
    image = scan(1)
    copy = np.clip(COPIES[name](image, np.random.default_rng(2)), 0, 1).astype(np.float32)
    shown = show_pair(image, np.ascontiguousarray(copy))
    assert shown.registered.shape == shown.matched.shape == shown.difference.shape == image.shape
    assert ssim(shown) > 0.9
    assert shown.overlap > 0.5
    assert shown.difference[shown.mask].mean() < 0.03
    assert not shown.partial


def test_keypoints_are_places_of_both_images():
    image = scan(1)
    shown = show_pair(image, np.ascontiguousarray(image[20:-10, 30:].copy()))
    assert len(shown.points) > 40
    moved = shown.points[:, 0] - shown.points[:, 1]
    assert np.abs(np.median(moved, axis=0) - (30, 20)).max() < 0.5
    assert (np.linalg.norm(moved - (30, 20), axis=1) < 4).all()
    assert (shown.points >= 0).all()
    assert (shown.points[:, 0] < image.shape[::-1]).all()


def test_unrelated_images_share_nothing():
    shown = show_pair(scan(1), scan(2))
    assert len(shown.points) < 15
    assert ssim(shown) < 0.75
    assert not shown.partial
    assert shown.cues["keypoints"] == len(shown.points) or shown.cues["keypoints of the reduced image"] == len(
        shown.points
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", ["another image", "noise", "faint"])
def test_the_difference_is_never_larger_than_without_registration(seed, change):
    """Registration of images that have nothing in common can make them more different, and a faint one is matched in brightness."""
    real, random = scan(seed), np.random.default_rng(seed)
    other = {
        "another image": scan(seed + 50),
        "noise": random.random(SIZE, dtype=np.float32),
        "faint": 0.1 * scan(seed) + 0.4 * (scan(seed) > 0),
    }[change].astype(np.float32)
    shown = show_pair(real, other)
    apart = np.abs(real - match_histogram(other, real, shown.mask))[shown.mask].mean()
    assert shown.difference[shown.mask].mean() <= apart + 1e-6
    if change == "faint":
        assert shown.difference.mean() < 0.02 < np.abs(real - other).mean()


def test_a_constant_image_can_be_shown():
    shown = show_pair(scan(1), np.zeros((64, 64), np.float32))
    assert shown.points.shape == (0, 2, 2)
    assert np.isfinite(shown.difference).all()


@pytest.mark.parametrize("place", [(0, 0), (10, 20)])
def test_a_copy_of_a_part_is_told_from_one_of_the_whole(place):
    """A quarter of one image within another one, in its place or moved."""
    original, other = scan(1, (240, 240)), scan(2, (240, 240))
    down, right = place
    other[40 + down : 160 + down, 40 + right : 160 + right] = original[40:160, 40:160]
    shown = show_pair(original, other)
    assert shown.partial
    assert shown.coverage.covered < 0.5
    inside = shown.difference[60:140, 60:140]
    assert inside.mean() < 0.03 < shown.difference[170:220, 60:200].mean()
