"""The common grid of volumes: orientation, isotropic voxels, a cube, intensity window."""

import numpy as np
import pytest

from deepssim.errors import NotAVolume
from deepssim.images.grid import is_isotropic, isotropic_shape, require_volume_shape, resampling, spacing_of, to_grid
from deepssim.images.volumes import Volume, window_of


def gridded(values, side=16, spacing=(1.0, 1.0, 1.0)):
    volume = Volume(values[..., None], spacing, "RAS")
    return to_grid(volume, 0, side, window_of(volume, 0, (0, 100), "x"))


@pytest.fixture
def values(random):
    return random.integers(1, 256, (16, 16, 16)).astype(np.float32)


def test_a_cube_of_the_right_side_is_kept(values):
    np.testing.assert_array_equal(gridded(values), np.rint(values / values.max() * 255).T)  # inferior to superior first


def test_another_shape_is_padded_with_black_and_keeps_its_proportions(values):
    found = gridded(values[:, :8, :4])
    np.testing.assert_array_equal(found[6:10, 4:12], np.rint(values[:, :8, :4] / values[:, :8, :4].max() * 255).T)
    found[6:10, 4:12] = 0
    assert not found.any()


def test_thick_slices_become_isotropic():
    ramp = np.broadcast_to(np.arange(1.0, 17), (64, 64, 16)).astype(np.float32)  # 16 planes 4 mm apart
    volume = Volume(ramp[..., None], (1.0, 1.0, 4.0), "RAS")
    assert isotropic_shape(volume) == (64, 64, 64)
    assert not is_isotropic(volume)
    found = gridded(ramp, 64, (1.0, 1.0, 4.0))
    assert (np.diff(found[:, 32, 32].astype(int)) >= 0).all()  # between planes, values are interpolated
    assert len(np.unique(found[:, 32, 32])) > 50


def test_reducing_averages_and_does_not_alias():
    stripes = np.zeros((32, 32, 32), np.float32)
    stripes[::2] = 200
    stripes[0, 0, 0] = 200
    inner = gridded(stripes, 8)[2:-2, 2:-2, 2:-2]
    assert np.ptp(inner.astype(int)) <= 1
    assert inner.mean() == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (np.nan, 1.0, 1.0), (1.0, 1.0, 40.0)])
def test_a_spacing_that_cannot_be_true_is_ignored(values, spacing):
    assert spacing_of(Volume(values[..., None], spacing)) == (1.0, 1.0, 1.0)


def test_weights_sum_to_one_inside_and_to_zero_outside():
    weights = resampling(10, 1.0, 40, 20.0)
    sums = weights.sum(axis=1)
    assert set(np.round(sums, 5)) == {0.0, 1.0}
    assert np.flatnonzero(sums).tolist() == list(range(10, 30))
    np.testing.assert_allclose(weights[::-1, ::-1], weights)


@pytest.mark.parametrize("shape", [(16, 16, 7), (1, 16, 16)])
def test_a_few_planes_are_no_volume(shape):
    with pytest.raises(NotAVolume, match=r"x\.nii: holds .* voxels, and a volume has at least 8 along each axis"):
        require_volume_shape(shape, "x.nii")
