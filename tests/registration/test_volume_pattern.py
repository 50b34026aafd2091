"""Patterns of volumes: the same numbers for every order and direction of the axes, and a start that undoes the pose."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deepssim.images.resample_volumes import pulled
from deepssim.registration.volume_pattern import (
    LENGTH,
    ROTATIONS,
    pattern_in_poses,
    pattern_of_rotations,
    pattern_start,
    square,
    volume_pattern,
)
from deepssim.registration.volume_poses import VOLUME_POSES
from deepssim.registration.volume_proof import best_pattern
from tests.audit.scans import head

SIDE = 32


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    found = head(np.random.default_rng(1), SIDE)
    return found / found.max()


@pytest.fixture(scope="module")
def patterns(volume) -> np.ndarray:
    return pattern_of_rotations(volume)


def test_the_pattern_in_a_pose_is_that_of_the_posed_volume(volume):
    found = pattern_in_poses(volume_pattern(volume))
    assert found.shape == (48, LENGTH)
    expected = [volume_pattern(np.ascontiguousarray(pose.of(volume))) for pose in VOLUME_POSES]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    gram = found @ found.T
    assert np.abs(gram - np.eye(48)).max() < 0.97  # poses are told apart


def test_a_pattern_has_length_1_and_a_constant_volume_none(volume):
    assert np.linalg.norm(volume_pattern(volume)) == pytest.approx(1, abs=1e-6)
    assert not volume_pattern(np.full((SIDE,) * 3, 0.4, np.float32)).any()


def test_gain_and_brightness_leave_the_pattern_as_it_is(volume):
    np.testing.assert_allclose(volume_pattern(0.5 * volume + 0.2), volume_pattern(volume), atol=1e-3)


@pytest.mark.parametrize("pose", range(48))
def test_the_pose_of_a_volume_is_found_and_its_start_undoes_it(pose, volume, patterns):
    posed = np.ascontiguousarray(VOLUME_POSES[pose].of(volume))
    cosine, found, rotation = best_pattern(patterns, volume_pattern(posed))
    assert cosine == pytest.approx(1, abs=1e-3)
    assert rotation == 0
    undone, _ = pulled(posed, pattern_start(found, rotation, SIDE), volume.shape)
    np.testing.assert_allclose(undone, volume, atol=1e-5)


@pytest.mark.parametrize("vector", [(15, 0, 0), (0, -15, 15), (-15, 15, 15)])
@pytest.mark.parametrize("pose", [0, 11, 22, 33, 44])
def test_a_small_rotation_in_any_pose_is_found_and_its_start_undoes_it(pose, vector, volume, patterns):
    """The other volume shows the first one as it is after the inverse of a rotation among the 27, then in a pose."""
    turn = Rotation.from_rotvec(vector, degrees=True).as_matrix()
    centre = np.full(3, (SIDE - 1) / 2)
    to_volume = np.column_stack([turn, centre - turn @ centre])
    other = np.ascontiguousarray(VOLUME_POSES[pose].of(pulled(volume, to_volume, volume.shape)[0]))
    cosine, found, rotation = best_pattern(patterns, volume_pattern(other))
    assert cosine > 0.98
    expected = (square(VOLUME_POSES[pose].matrix(SIDE)) @ np.linalg.inv(square(to_volume)))[:3]
    np.testing.assert_allclose(pattern_start(found, rotation, SIDE), expected, atol=1e-9)


def test_the_first_rotation_is_none_and_all_are_different(volume, patterns):
    assert patterns.shape == (ROTATIONS, LENGTH)
    np.testing.assert_allclose(patterns[0], volume_pattern(volume), atol=0.01)
    assert (np.sort((patterns @ patterns.T).ravel())[-ROTATIONS - 1] < 0.999).all()


def test_a_square_matrix_maps_as_the_affine_map(random):
    matrix, place = random.random((3, 4)), random.random(3)
    np.testing.assert_allclose((square(matrix) @ [*place, 1])[:3], matrix[:, :3] @ place + matrix[:, 3])
