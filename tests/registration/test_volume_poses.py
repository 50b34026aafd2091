"""Poses of volumes: 48 different ones, each of which says what it does to voxels, places and handedness."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from deepssim.registration.volume_poses import VOLUME_POSES, nearest_volume_pose

SIDE = 5


@pytest.fixture
def volume(random) -> np.ndarray:
    return random.random((SIDE, SIDE, SIDE))


def test_there_are_48_different_poses_half_of_them_mirror_images(volume):
    assert len({pose.of(volume).tobytes() for pose in VOLUME_POSES}) == 48
    assert sum(pose.mirrored for pose in VOLUME_POSES) == 24
    np.testing.assert_array_equal(VOLUME_POSES[0].of(volume), volume)
    assert VOLUME_POSES[0].words == "unchanged"
    assert len({pose.words for pose in VOLUME_POSES}) == 48


def test_a_pose_is_a_mirror_image_exactly_if_quarter_turns_do_not_reach_it(volume):
    """The 24 rotations of a cube, by their generators."""
    reached = {volume.tobytes(): volume}
    while True:
        turned = [np.rot90(item, axes=axes) for item in reached.values() for axes in ((0, 1), (1, 2))]
        more = {item.tobytes(): item for item in turned} | reached
        if len(more) == len(reached):
            break
        reached = more
    assert len(reached) == 24
    for pose in VOLUME_POSES:
        assert pose.mirrored == (pose.of(volume).tobytes() not in reached)


@pytest.mark.parametrize("pose", VOLUME_POSES, ids=lambda pose: pose.words)
def test_the_matrix_moves_places_as_the_pose_moves_voxels(pose, volume):
    matrix = pose.matrix(SIDE)
    posed = pose.of(volume)
    for place in ((0, 0, 0), (1, 2, 4), (4, 0, 3)):
        there = tuple(np.rint(matrix @ [*place, 1]).astype(int))
        assert posed[there] == volume[place]
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 0, 1]]))[:3]
    np.testing.assert_allclose(affine_transform(volume, inverse[:, :3], inverse[:, 3], order=1), posed, atol=1e-12)


def test_a_stack_of_volumes_is_posed_as_each_of_them(random):
    stack = random.random((2, SIDE, SIDE, SIDE))
    for pose in VOLUME_POSES:
        np.testing.assert_array_equal(pose.of(stack), np.stack([pose.of(item) for item in stack]))


def test_the_words_say_which_axes_change_and_which_are_reversed():
    words = {pose.words for pose in VOLUME_POSES if pose.axes == (1, 0, 2)}
    assert "axes in the order 2, 1, 3" in words
    assert "axes in the order 2, 1, 3, first and third axis reversed" in words


def test_the_nearest_pose_of_a_pose_with_some_rotation_is_that_pose():
    turn = Rotation.from_rotvec([14, -10, 12], degrees=True).as_matrix() * 1.2
    for pose in VOLUME_POSES:
        assert nearest_volume_pose(pose.matrix(64)) == pose
        assert nearest_volume_pose(turn @ pose.matrix(64)[:, :3]) == pose
