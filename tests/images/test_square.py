import numpy as np
import pytest

from deepssim.images.square import is_square, make_square, squared_shape


def test_a_circle_that_was_scanned_flat_is_round_again():
    rows, columns = np.mgrid[:64, :256]
    scanned = ((4 * (rows - 31.5)) ** 2 + (columns - 127.5) ** 2 < 100**2).astype(np.float32)
    shown = make_square(scanned, (4.0, 1.0))
    assert shown.shape == (256, 256)
    rows, columns = np.nonzero(shown > 0.5)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 4


@pytest.mark.parametrize("spacing", [(1, 1), (0.7, 0.705), (0, 1), (np.nan, 1), (1, 1000), (-1, 1)])
def test_square_pixels_and_spacings_that_say_nothing_change_nothing(random, spacing):
    image = random.random((6, 8)).astype(np.float32)
    assert is_square(spacing)
    assert make_square(image, spacing) is image


def test_the_finer_spacing_is_kept_and_sides_are_bounded():
    assert squared_shape((100, 200), (3, 1)) == (300, 200)
    assert squared_shape((100, 200), (0.5, 1)) == (100, 400)
    assert squared_shape((2000, 2000), (10, 1)) == (4096, 410)
    assert squared_shape((8000, 100), (2, 1)) == (8000, 50)
