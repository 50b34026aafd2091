"""Sixteen poses: each is one of the symmetries of a square, and its matrix moves places as it moves pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepssim.registration.poses import POSES, UNCHANGED, Pose


@given(side=st.integers(1, 9), pose=st.sampled_from(POSES))
def test_the_matrix_maps_pixels_as_the_pose_moves_them(side, pose):
    image = np.arange(side * side, dtype=np.uint16).reshape(side, side)
    posed = pose.of(image)
    posed = np.iinfo(np.uint16).max - posed if pose.negative else posed
    down, right = np.mgrid[:side, :side].reshape(2, -1)
    places = pose.matrix(side) @ np.stack([right, down, np.ones_like(right)])
    whole = np.rint(places).astype(int)
    np.testing.assert_allclose(places, whole, atol=1e-9)
    np.testing.assert_array_equal(posed[whole[1], whole[0]], image[down, right])


def test_a_quarter_turn_is_anticlockwise_after_mirroring():
    image = np.array([[1, 2], [3, 4]], np.uint8)
    np.testing.assert_array_equal(Pose(1, False, False).of(image), [[2, 4], [1, 3]])
    np.testing.assert_array_equal(Pose(0, True, False).of(image), [[2, 1], [4, 3]])
    np.testing.assert_array_equal(Pose(1, True, False).of(image), [[1, 3], [2, 4]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_poses_are_all_different(dtype, random):
    image = random.integers(0, np.iinfo(dtype).max, (5, 5), dtype=dtype)
    posed = [pose.of(image) for pose in POSES]
    assert len(POSES) == len({item.tobytes() for item in posed}) == 16
    np.testing.assert_array_equal(posed[POSES.index(UNCHANGED)], image)
    assert all(item.dtype == dtype and item.shape == (5, 5) for item in posed)


def test_a_pose_of_many_images_is_that_of_each(random):
    images = random.integers(0, 256, (3, 6, 6), dtype=np.uint8)
    for pose in POSES:
        np.testing.assert_array_equal(pose.of(images), np.stack([pose.of(image) for image in images]))


def test_negatives_come_last():
    assert [pose.negative for pose in POSES] == [False] * 8 + [True] * 8
