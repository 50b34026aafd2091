"""Similarity over the overlap of volumes agrees with scikit-image, and neither broken nor empty volumes make it up."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from deepssim.registration.volume_images import (
    correlation,
    equally_sharp,
    foreground,
    locally_normalised,
    match_intensities,
    overlap_ssim,
)
from tests.audit.scans import head

SIDE = 32
EVERYWHERE = np.ones((SIDE,) * 3, bool)


def made(seed: int) -> np.ndarray:
    found = head(np.random.default_rng(seed), SIDE)
    return found / found.max()


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    return made(1), made(2)


def ellipsoid() -> np.ndarray:
    places = np.linspace(-1, 1, SIDE)
    return np.sum([(axis / 0.7) ** 2 for axis in np.meshgrid(*[places] * 3, indexing="ij")], axis=0) < 1


def test_ssim_over_all_of_both_is_that_of_scikit_image(pair):
    """Of volumes whose intensities have one distribution, in windows that lie in the volume to 60 %, as the borders' do not all."""
    real, other = pair
    matched = match_intensities(other, real, EVERYWHERE)
    _, values = structural_similarity(real, matched, data_range=float(np.ptp(real)), full=True)
    assert overlap_ssim(real, other, EVERYWHERE) == pytest.approx(values.mean(), abs=1e-6)
    shuffled = np.random.default_rng(0).permutation(real.ravel()).reshape(real.shape)  # has that distribution already
    _, values = structural_similarity(real, shuffled, data_range=float(np.ptp(real)), full=True)
    assert overlap_ssim(real, shuffled, EVERYWHERE) == pytest.approx(values.mean(), abs=1e-4)


def test_ssim_over_a_part_does_not_know_the_rest(pair):
    """Only voxels within a window of the overlap enter."""
    real, other = pair
    mask = np.zeros_like(EVERYWHERE)
    mask[12:20, 10:24, 8:24] = True
    before = overlap_ssim(real, other, mask)
    near = np.zeros_like(mask)
    near[9:23, 7:27, 5:27] = True
    changed = np.where(near, other, np.float32(0.9))
    assert overlap_ssim(real, changed, mask) == pytest.approx(before, abs=1e-6)
    assert overlap_ssim(real, np.where(mask, real, other), mask) > before + 0.2


@pytest.mark.parametrize("change", [lambda v: v, lambda v: 0.4 * v, lambda v: v**1.6, lambda v: 0.5 * v + 0.3])
def test_a_volume_of_other_intensities_is_the_same(pair, change):
    assert overlap_ssim(pair[0], change(pair[0]), ellipsoid()) > 0.999
    assert overlap_ssim(pair[0], pair[1], ellipsoid()) < 0.5


def test_correlation_is_that_of_numpy(pair):
    mask = ellipsoid()
    expected = np.corrcoef(pair[0][mask], pair[1][mask])[0, 1]
    assert correlation(*pair, mask) == pytest.approx(expected, abs=1e-9)
    assert correlation(pair[0], 0.3 * pair[0] + 0.2, mask) == pytest.approx(1, abs=1e-6)
    assert correlation(pair[0], -pair[0], mask) == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("measure", [correlation, overlap_ssim])
def test_where_nothing_can_be_compared_nothing_is_similar(measure, pair):
    """Constant volumes, which histogram matching would make equal, and overlaps of next to nothing."""
    constant, few = np.full_like(pair[0], 0.5), np.zeros_like(EVERYWHERE)
    few[16:20, 16:20, 16:20] = True
    assert measure(constant, constant, EVERYWHERE) == 0
    assert measure(constant, pair[0], EVERYWHERE) == 0
    assert measure(pair[0], constant, EVERYWHERE) == 0
    assert measure(pair[0], pair[0], few) == 0
    assert measure(pair[0], pair[0], np.zeros_like(EVERYWHERE)) == 0


def test_matched_intensities_have_the_quantiles_of_the_other_volume(pair):
    mask = ellipsoid() & (pair[1] > 0)  # zeros are mapped to one value
    matched = match_intensities(pair[1] ** 2, pair[0], mask)
    for part in (0.25, 0.5, 0.75, 0.95):
        assert np.quantile(matched[mask], part) == pytest.approx(np.quantile(pair[0][mask], part), abs=0.01)
    assert matched.dtype == np.float32
    order = np.argsort(pair[1][mask], kind="stable")
    assert (np.diff(matched[mask][order]) >= 0).all()


def test_local_normalisation_forgets_gain_and_brightness_but_not_structure(random):
    texture = gaussian_filter(random.normal(size=(SIDE,) * 3), 1.0).astype(np.float32)
    texture = 0.5 + 0.25 * texture / texture.std()
    trend = np.linspace(-0.3, 0.3, SIDE, dtype=np.float32)[:, None, None]
    one, other = (locally_normalised(volume, 3.0) for volume in (texture, 0.4 * texture + 0.1 + trend))
    inner = (slice(6, -6),) * 3
    assert np.corrcoef(one[inner].ravel(), other[inner].ravel())[0, 1] > 0.98
    for found in (one[inner], other[inner]):
        assert found.std() == pytest.approx(1, abs=0.15)
        assert abs(found.mean()) < 0.05
    flat = locally_normalised(np.full((SIDE,) * 3, 0.4, np.float32), 3.0)
    assert np.abs(flat).max() < 1e-4


def test_the_foreground_is_what_is_not_dark(pair):
    truth = pair[0] > 0
    found = foreground(pair[0])
    assert (found & truth).sum() > 0.99 * truth.sum()
    assert found.sum() < 1.25 * truth.sum()
    hollow = pair[0].copy()
    hollow[12:20, 12:20, 12:20] = 0
    assert foreground(hollow)[16, 16, 16]  # a hole inside belongs to it
    noisy = pair[0] + np.abs(np.random.default_rng(0).normal(0, 0.04, pair[0].shape)).astype(np.float32)
    assert foreground(noisy).sum() < 1.25 * truth.sum()


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_without_any_contrast_everything_is_foreground(value):
    assert foreground(np.full((16, 12, 9), value, np.float32)).all()


def test_a_bright_background_and_what_it_surrounds_are_foreground(pair):
    assert foreground(1 - pair[0]).mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 20, 20), (3, 4, 5), (1, 1, 1), (64, 2, 9)])
def test_any_shape_has_a_foreground(shape, random):
    found = foreground(random.random(shape).astype(np.float32))
    assert found.shape == shape
    assert found.any()


@pytest.mark.parametrize("turned", [False, True])
def test_the_sharper_volume_is_smoothed_until_both_are_alike(turned, pair):
    sharp = pair[0]
    blurred = gaussian_filter(sharp, 1.2)
    given = (blurred, sharp) if turned else (sharp, blurred)
    found = equally_sharp(*given, ellipsoid())
    kept, made_blurred = (0, 1) if turned else (1, 0)
    assert found[kept] is given[kept]
    difference = np.abs(found[made_blurred] - blurred)[ellipsoid()].mean()
    assert difference < 0.1 * np.abs(sharp - blurred)[ellipsoid()].mean()
    same = equally_sharp(sharp, sharp.copy(), ellipsoid())
    np.testing.assert_array_equal(same[0], same[1])


def test_constant_volumes_are_as_sharp_as_each_other():
    flat = np.full((SIDE,) * 3, 0.5, np.float32)
    found = equally_sharp(flat, flat.copy(), EVERYWHERE)
    assert np.isfinite(found).all()
    assert np.isfinite(equally_sharp(flat, made(1), EVERYWHERE)).all()
