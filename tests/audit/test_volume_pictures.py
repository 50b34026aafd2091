"""Pictures of a pair of volumes: slices of three planes, the copy on the real volume, and no difference where there is none."""

import numpy as np
import pytest

from deepssim.audit.volume_pictures import mosaic, places_of, show_volumes
from tests.audit.scans import head, rotated


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    found = head(np.random.default_rng(1), 40)
    return found / found.max()


def marked(shape=(20, 24, 16)) -> np.ndarray:
    """Return a volume whose values are the index of each voxel, so that pictures tell where they come from."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_a_mosaic_has_a_row_of_slices_across_each_axis_superior_and_anterior_up():
    volume = marked()
    places = [[3, 10, 17], [4, 12, 20], [2, 8, 13]]
    found = mosaic(volume, places)
    assert found.shape == (72, 72)
    assert found.dtype == np.float32
    axial, coronal, sagittal = (found[start : start + 24] for start in (0, 24, 48))
    np.testing.assert_array_equal(axial[:, 4:20], volume[3, ::-1])  # in the middle of its square
    np.testing.assert_array_equal(coronal[2:22, 24 + 4 : 24 + 20], volume[::-1, 12])
    np.testing.assert_array_equal(sagittal[2:22, 48:], volume[::-1, :, 13])
    assert not axial[:, :4].any()


def test_slices_are_spread_over_what_a_volume_shows(volume):
    wide = np.zeros((80, 60, 50), np.float32)
    wide[30:70, 10:50, 5:45] = volume
    first, second = places_of(volume), places_of(wide)
    for one, other, shift in zip(first, second, (30, 10, 5), strict=True):
        np.testing.assert_allclose(np.array(other) - shift, one, atol=1)  # halves are rounded to even numbers
        assert one == sorted(set(one))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_volume_can_be_shown(value, volume):
    constant = np.full((40, 40, 40), value, np.float32)
    assert all(0 <= place < 40 for places in places_of(constant) for place in places)
    for real, other in ((constant, volume), (volume, constant), (constant, constant)):
        shown = show_volumes(real, other)
        for picture in (shown.real, shown.other, shown.registered, shown.matched, shown.difference):
            assert picture.shape == (120, 120)
            assert np.isfinite(picture).all()


def test_the_same_volume_lies_on_itself(volume):
    shown = show_volumes(volume, volume)
    np.testing.assert_array_equal(shown.real, mosaic(volume))
    np.testing.assert_array_equal(shown.real, shown.other)
    assert shown.mask.mean() > 0.9
    assert np.abs(shown.registered - shown.real)[shown.mask].mean() < 0.01
    assert shown.difference.mean() < 0.02
    assert shown.difference.dtype == shown.registered.dtype == np.float32


def test_a_copy_lies_on_its_original(volume):
    copy = np.ascontiguousarray(rotated(volume)[:, :, ::-1].transpose(1, 0, 2))
    shown = show_volumes(volume, np.clip(0.7 * copy, 0, 1))
    assert shown.registered.shape == shown.real.shape
    inside = shown.mask & (shown.real > 0)
    assert np.corrcoef(shown.registered[inside], shown.real[inside])[0, 1] > 0.75
    apart = np.abs(shown.real - mosaic(copy))[inside].mean()
    assert shown.difference[inside].mean() < 0.5 * apart
    assert not shown.registered[~shown.mask].any()
    assert not shown.difference[~shown.mask].any()


def test_volumes_of_other_sizes_are_shown_on_the_real_one(volume):
    other = np.zeros((52, 48, 44), np.float32)
    other[5:45, 4:44, 3:43] = volume
    shown = show_volumes(volume, other)
    assert shown.real.shape == shown.registered.shape == shown.mask.shape == (120, 120)
    assert shown.other.shape == (156, 156)
    inside = shown.mask & (shown.real > 0)
    assert np.corrcoef(shown.registered[inside], shown.real[inside])[0, 1] > 0.95
