"""Changes of volumes are as strong as they say, keep shape and type, and depend on the volume's own random numbers only."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deepssim.images import volume_changes as changes
from deepssim.images.distort import UNCHANGED, distort, protocol
from deepssim.images.packs import ImagePack
from deepssim.images.volume_distort import VOLUME_DISTORTIONS, VOLUME_PROTOCOL
from tests.audit.scans import head

SIDE = 32
SHAPES = [(32, 32, 32), (24, 31, 20), (9, 40, 33)]


def ramp(shape, axis: int) -> np.ndarray:
    """Return the index of voxels along an axis as a volume: what is moved tells where it came from."""
    return np.indices(shape, dtype=np.float32)[axis]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    found = head(generator(2), SIDE)
    return found / found.max()


def pack_of(volumes) -> ImagePack:
    return ImagePack(np.rint(255 * np.stack(volumes)).astype(np.uint8), [f"v{row}" for row in range(len(volumes))])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", VOLUME_DISTORTIONS)
def test_every_change_keeps_shape_type_and_the_given_volume(name, shape):
    change = VOLUME_DISTORTIONS[name]
    volume = generator(1).random(shape, dtype=np.float32)
    before = volume.copy()
    second = [generator(2).random(shape, dtype=np.float32)] if change.mixes else []
    found = change.apply(volume, generator(), *second)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(volume, before)
    np.testing.assert_array_equal(change.apply(volume, generator(), *second), found)
    assert (found == volume).all() == (name == UNCHANGED)


@pytest.mark.parametrize("name", VOLUME_DISTORTIONS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_volumes_are_no_trouble(name, value):
    change = VOLUME_DISTORTIONS[name]
    volume = np.full((12, 10, 9), value, np.float32)
    found = change.apply(volume, generator(), *([volume] if change.mixes else []))
    assert np.isfinite(found).all()


def test_distorted_packs_depend_on_keys_not_on_their_order(volume):
    pack = pack_of([volume, volume[::-1], volume.transpose(1, 2, 0)])
    turned = pack.select(["v2", "v0", "v1"])
    for name in VOLUME_DISTORTIONS:
        one = distort(pack, name, 0, changes=VOLUME_DISTORTIONS)
        other = distort(turned, name, 0, changes=VOLUME_DISTORTIONS)
        assert one.images.dtype == np.uint8
        np.testing.assert_array_equal(one.images[[2, 0, 1]], other.images)
    first = distort(pack, "rotation 12°", 0, changes=VOLUME_DISTORTIONS)
    assert (first.images != distort(pack, "rotation 12°", 1, changes=VOLUME_DISTORTIONS).images).any()


def test_the_protocol_is_that_of_volumes():
    assert protocol(0, 40, VOLUME_PROTOCOL) == VOLUME_PROTOCOL
    assert next(iter(VOLUME_DISTORTIONS)) == UNCHANGED


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flips_and_quarter_turns_move_voxels_without_a_change(axis, volume):
    np.testing.assert_array_equal(changes.flip(volume, generator(), axis=axis), np.flip(volume, axis))
    turned = changes.quarter_turn(volume, generator(), axes=(0, 1))
    np.testing.assert_array_equal(changes.quarter_turn(turned, generator(), axes=(1, 0)), volume)
    moved = volume
    for _ in range(3):
        moved = changes.reorder(moved, generator())
    np.testing.assert_array_equal(moved, volume)


def test_reordered_axes_of_a_volume_that_is_no_cube_stay_in_the_centre():
    volume = np.zeros((9, 21, 15), np.float32)
    volume[4, 10, 7] = 1
    found = changes.reorder(volume, generator())
    assert found[4, 10, 7] == found.sum() == 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mm", [3, 6])
def test_warps_have_the_standard_deviation_they_state(shape, mm):
    """Of ramps along the three axes, what a warp changes is the displacement, wherever it does not lead out of the volume."""
    voxels = mm * max(shape) / 220
    moved = np.stack([changes.warp(ramp(shape, axis), generator(3), mm=mm) for axis in range(3)])
    inside = (moved != 0).all(axis=0)  # black where the displacement leads out of the volume
    assert inside.mean() > 0.5
    displacement = (moved - np.indices(shape))[:, inside]
    np.testing.assert_allclose(displacement.std(axis=1), voxels, rtol=0.2)
    np.testing.assert_allclose(displacement.mean(axis=1), 0, atol=0.4 * voxels)
    steep = np.abs(np.diff(moved[0], axis=2)[inside[..., 1:] & inside[..., :-1]]).max()
    assert steep < 9 * voxels * 5 / shape[2]  # smooth: as splines through five random points on each side are


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_cuts_remove_the_fraction_they_state(fraction, seed):
    volume = np.zeros((30, 40, 26), np.float32)
    volume[5:25, 10:30, 3:23] = 1  # 20 voxels along each axis
    found = changes.cut(volume, generator(seed), fraction=fraction)
    assert found.sum() == pytest.approx((1 - fraction) * volume.sum())
    assert ((found == volume) | (found == 0)).all()
    left = [np.ptp(np.flatnonzero(found.max(axis=axes))) + 1 for axes in ((1, 2), (0, 2), (0, 1))]
    assert sorted(left) == [round(20 * (1 - fraction)), 20, 20]


def test_cuts_take_either_end_of_any_axis():
    volume = np.ones((10, 10, 10), np.float32)
    cut = {changes.cut(volume, generator(seed), fraction=0.2).tobytes() for seed in range(60)}
    assert len(cut) == 6


@pytest.mark.parametrize("mm", [8, 20])
@pytest.mark.parametrize("seed", range(4))
def test_thick_slices_keep_the_mean_and_the_places(mm, seed, volume):
    found = changes.thick_slices(volume, generator(seed), mm=mm)
    assert found.mean() == pytest.approx(volume.mean(), rel=0.02)
    weights = volume / volume.sum(), found / found.sum()
    for axis in range(3):
        first, second = (float((part * ramp(volume.shape, axis)).sum()) for part in weights)
        assert first == pytest.approx(second, abs=0.3)  # of a voxel
    assert (found != volume).any()


@pytest.mark.parametrize("degrees", [12, 25])
def test_rotations_have_the_angle_they_state(degrees):
    shape = (24, 24, 24)
    moved = np.stack([changes.rotate(ramp(shape, axis), generator(4), degrees=degrees) for axis in range(3)])
    middle = (slice(8, 16),) * 3
    gradients = np.array([[np.gradient(part, axis=axis)[middle].mean() for axis in range(3)] for part in moved])
    np.testing.assert_allclose(gradients @ gradients.T, np.eye(3), atol=1e-4)
    assert np.rad2deg(Rotation.from_matrix(gradients).magnitude()) == pytest.approx(degrees, abs=0.01)
    centre = moved[:, 11:13, 11:13, 11:13].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(centre, 11.5, atol=1e-4)


def test_affine_maps_differ_from_the_identity_by_the_strength_at_most():
    shape = (24, 24, 24)
    largest = 0.0
    for seed in range(5):
        moved = np.stack([changes.stretch(ramp(shape, axis), generator(seed), strength=0.1) for axis in range(3)])
        middle = (slice(8, 16),) * 3
        gradients = np.array([[np.gradient(part, axis=axis)[middle].mean() for axis in range(3)] for part in moved])
        largest = max(largest, float(np.abs(gradients - np.eye(3)).max()))
    assert 0.07 < largest <= 0.1001


def test_shifts_have_the_length_they_state():
    shape = (22, 22, 22)  # voxels of 10 mm
    for seed in range(4):
        moved = np.stack([changes.shift(ramp(shape, axis), generator(seed), mm=20) for axis in range(3)])
        middle = (slice(None), *(slice(4, 18),) * 3)
        apart = (moved - np.indices(shape))[middle]
        np.testing.assert_allclose(np.abs(apart), 2, atol=1e-4)
        assert np.ptp(apart, axis=(1, 2, 3)).max() < 1e-4


def test_blurs_have_the_width_they_state():
    volume = np.zeros((44, 44, 44), np.float32)
    volume[22, 22, 22] = 1
    found = changes.blur(volume, generator(), mm=10)  # two voxels
    assert found.sum() == pytest.approx(1, abs=1e-4)
    assert float((found * (ramp(volume.shape, 1) - 22) ** 2).sum()) == pytest.approx(4, rel=0.03)


def test_bias_fields_reach_the_strength_in_opposite_corners():
    found = changes.bias_field(np.ones((10, 12, 14), np.float32), generator(), strength=0.4)
    corners = found[:: found.shape[0] - 1, :: found.shape[1] - 1, :: found.shape[2] - 1]
    assert corners.min() == pytest.approx(0.6, abs=1e-5) == found.min()
    assert corners.max() == pytest.approx(1.4, abs=1e-5) == found.max()
    assert found.mean() == pytest.approx(1, abs=1e-5)


def test_an_octant_of_another_volume_is_an_eighth():
    volume, other = np.zeros((16, 10, 12), np.float32), np.ones((16, 10, 12), np.float32)
    found = {changes.replace_octant(volume, generator(seed), other).tobytes() for seed in range(80)}
    assert len(found) == 8
    assert changes.replace_octant(volume, generator(), other).mean() == 1 / 8


def test_soft_and_combined_copies_remain_like_the_volume(volume):
    soft = changes.soft(volume, generator())
    assert np.corrcoef(soft.ravel(), volume.ravel())[0, 1] > 0.95
    combined = changes.combine(volume, generator())
    mirrored, as_it_was = (np.corrcoef(combined.ravel(), other.ravel())[0, 1] for other in (np.flip(volume, 2), volume))
    assert mirrored > as_it_was
