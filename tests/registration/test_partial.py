"""Copies of a part are told from copies of the whole."""

import numpy as np
import pytest

from deepssim.detection.pattern import best_poses, pattern, pattern_in_poses
from deepssim.images import changes
from deepssim.images.standardize import quantise
from deepssim.registration.partial import Coverage, coverage
from deepssim.registration.poses import POSES
from deepssim.registration.proof import best_symmetries, first_look, prepare, prove
from tests.audit.test_pictures import scan

SIZE = (240, 240)
WHOLE = {
    "unchanged": changes.keep,
    "rotated": lambda image, random: changes.rotate(image, random, degrees=30),
    "shrunk": lambda image, random: changes.zoom(image, random, factor=0.8),
    "cropped": lambda image, random: changes.crop(image, random, fraction=0.3),
    "warped": lambda image, random: changes.warp(image, random, deviation=6),
    "noisy": lambda image, random: changes.noise(image, random, deviation=0.1),
    "blurred": lambda image, random: changes.blur(image, random, deviation=6),
    "negative": changes.invert,
}


def covered(real: np.ndarray, other: np.ndarray) -> Coverage:
    first, second = (prepare(quantise(image, 8)) for image in (real, other))
    scores, poses = best_poses(pattern(second.small)[None], pattern_in_poses(first.small)[:, None])
    look = first_look(first, second, best_symmetries(first, second), POSES[poses[0, 0]], float(scores[0, 0]))
    return coverage(first, second, prove(first, second, look))


@pytest.mark.parametrize("name", WHOLE)
def test_a_copy_of_the_whole_is_no_partial_one(name):
    image = scan(1, SIZE)
    found = covered(image, WHOLE[name](image, np.random.default_rng(3)))
    assert not found.partial
    assert found.keypoints >= 12


@pytest.mark.parametrize(
    ("changed", "inside"),
    [(lambda part: part, 0.95), (lambda part: 1 - part, 0.92), (lambda part: part[:, ::-1], 0.95)],
    ids=["unchanged", "negative", "mirrored"],
)
def test_a_part_within_another_image_is_found(changed, inside):
    original, other = scan(1, SIZE), scan(4, SIZE)
    other[60:180, 70:190] = changed(original[50:170, 50:170])
    found = covered(original, other)
    assert found.partial
    assert found.inside > inside > 0.6 > found.outside
    assert found.covered < 0.6


def test_unrelated_and_empty_images_have_no_common_part():
    assert not covered(scan(1, SIZE), scan(5, SIZE)).partial
    empty = covered(scan(1, SIZE), np.zeros(SIZE))
    assert (empty.keypoints, empty.covered, empty.partial) == (0, 0.0, False)
