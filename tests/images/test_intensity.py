import numpy as np
import pytest

from deepssim.images.intensity import find_window
from deepssim.images.standardize import window


def windowed(volume, percentiles):
    found = find_window(lambda: iter(volume), lambda: (volume[0], volume[-1]), percentiles)
    return found, np.stack([found.apply(plane) for plane in volume])


VOLUMES = {
    "integers": lambda random: random.integers(0, 4096, (9, 20, 30)),
    "few values": lambda random: random.integers(0, 3, (9, 20, 30)),
    "negative": lambda random: random.normal(-5, 100, (9, 20, 30)),
    "Hounsfield units": lambda random: random.integers(-1024, 3000, (9, 20, 30)),
    "tiny": lambda random: random.normal(0, 1e-30, (9, 20, 30)),
    "mostly background": lambda random: random.random((9, 20, 30)) * (random.random((9, 20, 30)) > 0.95),
    "one value": lambda random: np.full((2, 3, 4), 7),
    "two values": lambda random: np.array([[[0, 1]], [[2, 0]]]),
    "nothing": lambda random: np.zeros((2, 3, 4)),
}


@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (0, 100), (1, 99), (10, 33.3)])
@pytest.mark.parametrize("name", VOLUMES)
def test_plane_by_plane_gives_the_same_bits_as_all_at_once(random, name, percentiles):
    volume = VOLUMES[name](random).astype(np.float32)
    np.testing.assert_array_equal(windowed(volume, percentiles)[1], window(volume, percentiles))


def test_values_that_are_not_finite_are_background(random):
    volume = random.integers(1, 4096, (9, 20, 30)).astype(np.float32)
    plain = window(np.where(volume < 400, 0, volume), (1, 99))
    for missing in (np.nan, np.inf, -np.inf):
        found, shown = windowed(np.where(volume < 400, np.float32(missing), volume), (1, 99))
        assert not found.finite
        np.testing.assert_array_equal(shown, plain)
    assert windowed(np.full((2, 3, 4), np.nan, np.float32), (1, 99))[0].empty


def test_a_background_of_zero_is_black_though_there_are_negative_values(random):
    """Interpolation leaves values below zero at the rim of a brain; z-scores do within it."""
    volume = np.zeros((10, 20, 20), np.float32)
    volume[2:8, 5:15, 5:15] = random.normal(0, 1, (6, 10, 10))
    found, shown = windowed(volume, (0.5, 99.5))
    assert found.black_zero
    assert (shown[volume == 0] == 0).all()
    assert (shown > 0).mean() < 0.16
    np.testing.assert_array_equal(shown[volume != 0], window(volume, (0.5, 99.5))[volume != 0])
    scan = random.normal(0, 1, (10, 20, 20)).astype(np.float32)  # tissue at the faces
    assert not windowed(scan, (0.5, 99.5))[0].black_zero


@pytest.mark.parametrize("padding", [-2048, -3024, -32768])
def test_padding_far_below_all_values_leaves_them_their_contrast(random, padding):
    """Scanners pad the corners around the field of view of a CT with a number that no tissue has."""
    volume = np.full((10, 20, 20), -1000, np.float32)
    volume[2:8, 5:15, 5:15] = random.normal(40, 20, (6, 10, 10))
    plain = windowed(volume, (0.5, 99.5))[1]
    volume[:, :3] = padding
    shown = windowed(volume, (0.5, 99.5))[1]
    assert np.ptp(shown[2:8, 5:15, 5:15]) > 0.8 * np.ptp(plain[2:8, 5:15, 5:15])
    assert (shown[volume == padding] == 0).all()


@pytest.mark.parametrize("background", [0, 30_000])
def test_an_offset_leaves_values_their_contrast(random, background):
    """Signed numbers stored as unsigned ones begin at 32,768."""
    volume = np.full((10, 20, 20), background, np.float32)
    volume[2:8, 5:15, 5:15] = random.normal(30_500, 100, (6, 10, 10))
    assert windowed(volume, (0.5, 99.5))[1][2:8, 5:15, 5:15].std() > 0.1


def test_a_mask_keeps_its_two_values():
    volume = np.full((10, 20, 20), -1, np.float32)
    volume[2:8, 5:15, 5:15] = 1
    assert set(np.unique(windowed(volume, (0.5, 99.5))[1])) == {0, 1}
