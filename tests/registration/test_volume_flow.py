"""The smooth displacement undoes small warps, leaves equal volumes where they are, and cannot make one brain another."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepssim.images.resample_volumes import pulled
from deepssim.registration.volume_flow import volume_flow
from deepssim.registration.volume_images import foreground
from tests.audit.scans import head

SIDE = 64


def made(seed: int) -> np.ndarray:
    found = head(np.random.default_rng(seed), SIDE)
    return found / found.max()


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return made(1)


def smooth_field(seed: int, deviation: float) -> np.ndarray:
    field = np.random.default_rng(seed).normal(size=(3, SIDE, SIDE, SIDE))
    field = np.stack([gaussian_filter(part, SIDE / 6) for part in field])
    return (deviation * field / field.std()).astype(np.float32)


def alike(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> float:
    return float(np.corrcoef(first[mask], second[mask])[0, 1])


def test_equal_volumes_stay_where_they_are(volume):
    flow = volume_flow(volume, volume, foreground(volume))
    assert flow.shape == (3, SIDE, SIDE, SIDE)
    assert flow.dtype == np.float32
    assert np.abs(flow).max() < 1e-3


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_small_shift_is_found(axis, volume):
    shift = np.eye(3, 4)
    shift[axis, 3] = -1.5  # the moved volume lies 1.5 voxels further along the axis
    moved, _ = pulled(volume, shift, volume.shape)
    mask = foreground(volume)
    inside = gaussian_filter(mask.astype(float), 4) > 0.95
    flow = volume_flow(volume, moved, mask)[:, inside]
    expected = np.where(np.arange(3) == axis, 1.5, 0)
    np.testing.assert_allclose(np.median(flow, axis=1), expected, atol=0.25)


def test_a_smooth_warp_is_undone(volume):
    moved, _ = pulled(volume, np.eye(3, 4), volume.shape, smooth_field(0, 1.2))
    mask = foreground(volume)
    undone, _ = pulled(moved, np.eye(3, 4), volume.shape, volume_flow(volume, moved, mask))
    before, after = alike(volume, moved, mask), alike(volume, undone, mask)
    assert after > 0.9
    assert 1 - after < 0.4 * (1 - before)


def test_another_head_does_not_become_the_same(volume):
    other = made(2)
    mask = foreground(volume) & foreground(other)
    warped, _ = pulled(other, np.eye(3, 4), volume.shape, volume_flow(volume, other, mask))
    assert alike(volume, warped, mask) < 0.7


@pytest.mark.parametrize("kind", ["empty", "constant", "nothing in common"])
def test_nothing_moves_where_nothing_can_be_seen(kind, volume):
    first = np.full_like(volume, 0.0 if kind == "empty" else 0.5) if kind != "nothing in common" else volume
    mask = np.zeros(volume.shape, bool) if kind == "nothing in common" else np.ones(volume.shape, bool)
    flow = volume_flow(first, volume, mask)
    assert np.abs(flow).max() < 1e-2
