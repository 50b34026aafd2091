"""Registration of volumes finds known affine maps to within a fraction of a voxel, and no volume is too odd for it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from deepssim.registration import volume_registration as module
from deepssim.registration.volume_pattern import square
from deepssim.registration.volume_registration import (
    SIDE,
    Levels,
    PreparedVolume,
    agreement,
    prepare_volume,
    register,
)
from tests.audit.scans import head

AFFINES = {
    "rotation of 12 degrees": Rotation.from_rotvec([7, -7, 7], degrees=True).as_matrix(),
    "rotation of 6 degrees, smaller": 1.08 * Rotation.from_rotvec([0, 6, 0], degrees=True).as_matrix(),
    "stretched": np.diag([1.1, 0.95, 1.0]),
    "sheared": np.array([[1.06, 0.05, 0], [0, 0.95, 0.04], [0.03, 0, 1.03]]),
}  # fmt: skip


def as_bytes(volume: np.ndarray) -> np.ndarray:
    return np.rint(255 * volume / volume.max()).astype(np.uint8)


def about_centre(linear: np.ndarray, side: int, shift=(0, 0, 0)) -> np.ndarray:
    centre = np.full(3, (side - 1) / 2)
    return np.column_stack([linear, centre - linear @ centre + shift])


def moved(volume: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move a volume; the map leads from places of the volume to those of the result."""
    inverse = np.linalg.inv(square(matrix))
    return affine_transform(volume, inverse[:3, :3], inverse[:3, 3], order=1)


def apart(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return by how much two maps differ in the places of a mask, in voxels."""
    places = np.column_stack([np.argwhere(mask), np.ones(mask.sum())])
    return np.linalg.norm(places @ (first - second).T, axis=1)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return as_bytes(head(np.random.default_rng(1), 48))


@pytest.fixture(scope="module")
def fixed(volume) -> Levels:
    return Levels(prepare_volume(volume))


def other_of(fixed: Levels, truth: np.ndarray) -> Levels:
    """Return a prepared volume of which a map to it is known."""
    return Levels(PreparedVolume(as_bytes(moved(fixed.values, truth)), np.eye(3, 4), fixed.prepared.pattern))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", AFFINES)
def test_a_known_affine_map_is_found_to_a_fraction_of_a_voxel(name, seed):
    """The optimiser must neither stop on its way nor lose it: the start is 2 to 4 voxels away, structures are 3 voxels wide."""
    fixed = Levels(prepare_volume(as_bytes(head(np.random.default_rng(seed), 48))))
    truth = about_centre(AFFINES[name], SIDE, (1.5, -2, 1))
    moving, start = other_of(fixed, truth), np.eye(3, 4)
    found = register(fixed, moving, start, rigid_first=True)
    spacing = fixed.prepared.placement[0, 0]  # of prepared voxels, in given ones
    assert spacing * apart(start, truth, fixed.mask).mean() > 1.8
    assert spacing * apart(found, truth, fixed.mask).mean() < 0.85
    assert agreement(fixed, moving, found) > 0.97


def test_a_step_that_loses_its_way_takes_nothing_from_those_before_it(fixed, monkeypatch):
    """Affine steps have ended far outside of the volume, and with them the rotation that was found before them."""
    truth = about_centre(AFFINES["rotation of 12 degrees"], SIDE)
    moving = other_of(fixed, truth)
    step = module._step

    def astray(*args, affine: bool, steps: int) -> np.ndarray:
        return about_centre(np.eye(3), SIDE, (50, 0, 0)) if affine else step(*args, affine=affine, steps=steps)

    monkeypatch.setattr(module, "_step", astray)
    found = register(fixed, moving, np.eye(3, 4), rigid_first=True)
    assert agreement(fixed, moving, found) > 0.95
    assert apart(found, truth, fixed.mask).mean() < 1.2


def test_a_fine_step_follows_where_only_a_coarse_one_was_made(fixed):
    truth = about_centre(AFFINES["rotation of 12 degrees"], SIDE)
    moving = other_of(fixed, truth)
    coarse = register(fixed, moving, np.eye(3, 4), rigid_first=True, fine=False)
    assert apart(coarse, truth, fixed.mask).mean() < 1.2
    fine = register(fixed, moving, coarse, rigid_first=False)
    assert apart(fine, truth, fixed.mask).mean() < apart(coarse, truth, fixed.mask).mean()


def test_equal_volumes_stay_where_they_are(fixed):
    found = register(fixed, fixed, np.eye(3, 4), rigid_first=True)
    assert apart(found, np.eye(3, 4), fixed.mask).max() < 0.05
    assert agreement(fixed, fixed, np.eye(3, 4)) == pytest.approx(1, abs=1e-6)


def test_the_result_is_never_worse_than_the_start(fixed):
    other = Levels(prepare_volume(as_bytes(head(np.random.default_rng(2), 48))))
    for shift in ((0, 0, 0), (12, 0, -9), (30, 30, 30), (500, 0, 0)):
        start = about_centre(np.eye(3), SIDE, shift)
        found = register(fixed, other, start, rigid_first=True)
        assert np.isfinite(found).all()
        assert agreement(fixed, other, found) >= agreement(fixed, other, start)
        assert np.linalg.svd(found[:, :3], compute_uv=False).max() < 2


def test_maps_that_hardly_overlap_do_not_agree(fixed):
    assert agreement(fixed, fixed, about_centre(np.eye(3), SIDE, (40, 0, 0))) == 0
    assert agreement(fixed, fixed, about_centre(np.eye(3), SIDE, (500, 0, 0))) == 0


def test_threads_and_repetition_change_no_bit(fixed):
    others = [Levels(prepare_volume(as_bytes(head(np.random.default_rng(seed), 24)))) for seed in (3, 4, 5, 6)]
    for item in (fixed, *others):
        item.itk  # noqa: B018

    def task(other: Levels) -> np.ndarray:
        return register(fixed, other, np.eye(3, 4), rigid_first=True)

    alone = [task(other) for other in others]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(task, others))
    np.testing.assert_array_equal(alone, together)


def odd_volumes() -> dict[str, np.ndarray]:
    empty = np.zeros((24, 24, 24), np.uint8)
    voxel, line, points, plane = (empty.copy() for _ in range(4))
    voxel[3, 4, 5] = line[:, 9, 9] = plane[7, 3:20, 4:20] = 255
    points[2, 2, 2] = points[-3, -3, -3] = 255
    return {
        "empty": empty, "constant": empty + 90, "voxel": voxel, "line": line, "two points": points, "plane": plane,
        "one slice": as_bytes(head(np.random.default_rng(1), 24))[12:13], "one voxel": np.full((1, 1, 1), 7, np.uint8),
        "smaller than a window": as_bytes(head(np.random.default_rng(1), 24))[10:15, 9:14, 8:13],
        "noise": np.random.default_rng(0).integers(0, 256, empty.shape, dtype=np.uint8),
        "negative": 255 - as_bytes(head(np.random.default_rng(1), 24)),
        "faint": as_bytes(head(np.random.default_rng(1), 24)) // 40,
    }  # fmt: skip


@pytest.mark.parametrize("name", odd_volumes())
def test_odd_volumes_are_registered_to_anything(name, fixed):
    odd = Levels(prepare_volume(odd_volumes()[name]))
    assert odd.prepared.volume.shape == (SIDE,) * 3
    assert np.isfinite(odd.prepared.placement).all()
    assert np.isfinite(odd.prepared.pattern).all()
    for first, second in ((odd, fixed), (fixed, odd), (odd, odd)):
        found = register(first, second, np.eye(3, 4), rigid_first=True)
        assert np.isfinite(found).all()
        assert -1 <= agreement(first, second, found) <= 1.000001


def test_a_thin_structure_has_points_at_every_resolution():
    """Reduced to 16 voxels, a line is nowhere half as bright as it was: without points SimpleITK fails."""
    line = Levels(prepare_volume(odd_volumes()["line"]))
    for near in line.near.values():
        places = np.argwhere(near)
        assert np.ptp(places[:, 0]) > 0.8 * len(near) / 2  # all of the line
        assert near.mean() < 0.2


def test_a_volume_of_other_types_is_refused(volume):
    with pytest.raises(ValueError, match=r"expected uint8 \(D, H, W\), got uint16"):
        prepare_volume(volume.astype(np.uint16) * 257)
    with pytest.raises(ValueError, match=r"got uint8 of shape \(2, 48, 48, 48\)"):
        prepare_volume(np.stack([volume, volume]))


@pytest.mark.parametrize("shape", [(48, 48, 48), (40, 51, 33), (31, 30, 64)])
def test_the_placement_leads_to_the_voxels_of_the_given_volume(shape):
    """A bright voxel block is found where the placement says it is; centres of voxels on both sides."""
    volume = np.zeros(shape, np.float32)
    middle = np.array(shape) // 2
    grid = np.indices(shape) - middle.reshape(3, 1, 1, 1)
    volume[(grid**2).sum(axis=0) < 12**2] = 0.4
    marks = [middle + np.array(offset) for offset in ((0, 0, 0), (6, 0, -3), (-5, 4, 6))]
    for mark in marks:
        volume[tuple(slice(place - 1, place + 2) for place in mark)] = 1
    prepared = prepare_volume(as_bytes(volume))
    for mark in marks:
        there = np.linalg.inv(square(prepared.placement)) @ [*mark, 1]
        near = np.indices((SIDE,) * 3) - there[:3].reshape(3, 1, 1, 1)
        weights = np.where((np.abs(near) < 5).all(axis=0), np.maximum(prepared.volume.astype(float) - 110, 0), 0)
        centre = [(weights * part).sum() / weights.sum() for part in near]
        np.testing.assert_allclose(centre, 0, atol=0.15)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 0, 1)])
def test_the_cube_around_the_foreground_does_not_depend_on_the_pose(axes, volume):
    first, second = prepare_volume(volume), prepare_volume(np.ascontiguousarray(volume.transpose(axes)[::-1]))
    np.testing.assert_allclose(first.volume.transpose(axes)[::-1].astype(int), second.volume.astype(int), atol=1)
    assert first.placement[0, 0] == pytest.approx(second.placement[0, 0])


def test_the_cube_holds_the_foreground_wherever_it_lies(volume):
    wide = np.zeros((80, 90, 70), np.uint8)
    wide[30:78, 1:49, 20:68] = volume
    first, second = prepare_volume(volume), prepare_volume(wide)
    np.testing.assert_allclose(second.placement[:, :3], first.placement[:, :3], atol=1e-3)
    np.testing.assert_allclose(second.placement[:, 3] - first.placement[:, 3], [30, 1, 20], atol=0.02)
    np.testing.assert_allclose(first.volume.astype(int), second.volume.astype(int), atol=3)
