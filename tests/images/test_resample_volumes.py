"""Smoothing, resizing and moving volumes agree with SciPy, at any shape, and say where there are no voxels."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

from deepssim.images.resample_volumes import pulled, resized, smoothed

SHAPES = [(9, 12, 7), (5, 6, 130), (24, 8, 65), (3, 2, 2)]


@pytest.mark.parametrize("shape", [*SHAPES, (6, 5, 1), (1, 9, 8)])
@pytest.mark.parametrize("deviation", [0.5, 1.3, 4.0])
def test_smoothing_is_that_of_scipy(shape, deviation, random):
    volume = random.random(shape).astype(np.float32)
    found = smoothed(volume, deviation)
    assert found.shape == shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, gaussian_filter(volume.astype(float), deviation), atol=2e-6)
    assert smoothed(volume, 0) is volume


def test_smoothing_takes_a_view_of_a_volume(random):
    volume = random.random((8, 9, 10)).astype(np.float32)
    turned = np.flip(volume.transpose(2, 0, 1), 1)
    np.testing.assert_array_equal(smoothed(turned, 1.0), smoothed(np.ascontiguousarray(turned), 1.0))


@pytest.mark.parametrize("shape", SHAPES)
def test_moving_is_the_linear_interpolation_of_scipy(shape, random):
    volume = random.random(shape).astype(np.float32)
    linear = np.eye(3) + random.uniform(-0.2, 0.2, (3, 3))
    matrix = np.column_stack([linear, random.uniform(-1, 1, 3)])
    found, covered = pulled(volume, matrix, (8, 9, 10))
    expected = affine_transform(volume.astype(float), linear, matrix[:, 3], (8, 9, 10), order=1, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    places = np.einsum("ij,jzyx->izyx", linear, np.indices((8, 9, 10))) + matrix[:, 3].reshape(3, 1, 1, 1)
    last = np.array(shape).reshape(3, 1, 1, 1) - 1
    np.testing.assert_array_equal(covered, ((places >= -0.01) & (places <= last + 0.01)).all(axis=0))


def test_displacements_come_before_the_map(random):
    volume = random.random((9, 8, 10)).astype(np.float32)
    displacement = random.normal(0, 1, (3, 6, 7, 8)).astype(np.float32)
    matrix = np.column_stack([np.diag([1.2, -0.9, 1.1]), [0.5, 7, -0.4]])
    found, covered = pulled(volume, matrix, (6, 7, 8), displacement)
    places = np.indices((6, 7, 8)) + displacement
    there = np.einsum("ij,jzyx->izyx", matrix[:, :3], places) + matrix[:, 3].reshape(3, 1, 1, 1)
    np.testing.assert_allclose(found, map_coordinates(volume.astype(float), there, order=1, mode="nearest"), atol=1e-5)
    assert covered.any()
    assert not covered.all()


def test_the_same_place_is_the_same_value(random):
    volume = random.random((7, 8, 9)).astype(np.float32)
    found, covered = pulled(volume, np.eye(3, 4), volume.shape)
    np.testing.assert_array_equal(found, volume)
    assert covered.all()
    beside, covered = pulled(volume, np.eye(3, 4), (7, 8, 12))
    assert not covered[:, :, 9:].any()
    np.testing.assert_array_equal(beside[:, :, 11], volume[:, :, 8])


@pytest.mark.parametrize("shape", [(1, 5, 6), (5, 1, 6), (5, 6, 1), (1, 1, 1)])
def test_a_volume_of_one_slice_is_moved_within_itself(shape, random):
    volume = random.random(shape).astype(np.float32)
    found, covered = pulled(volume, np.eye(3, 4), shape)
    np.testing.assert_array_equal(found, volume)
    assert covered.all()


@pytest.mark.parametrize("side", [11, 16, 32, 40, 64])
def test_a_ramp_keeps_its_places_when_it_is_resized(side):
    """Centres of voxels are at (i + 0.5) / S of the side, whatever S is."""
    places = (np.arange(32, dtype=np.float32) + 0.5) / 32
    volume = np.broadcast_to(places[:, None, None], (32, 32, 32))
    found = resized(np.ascontiguousarray(volume), side)
    assert found.shape == (side,) * 3
    inner = slice(side // 5, -(side // 5))  # beyond the border, that of the border is repeated
    expected = (np.arange(side) + 0.5) / side
    np.testing.assert_allclose(found[inner, 3, 4], expected[inner], atol=1e-4)


def test_resizing_keeps_constants_and_size_and_suppresses_noise(random):
    np.testing.assert_allclose(resized(np.full((24,) * 3, 0.7, np.float32), 9), 0.7, atol=1e-6)
    volume = random.random((24,) * 3).astype(np.float32)
    assert resized(volume, 24) is volume
    assert resized(volume, 6).std() < 0.25 * volume.std()
