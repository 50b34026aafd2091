"""Proof of volumes: copies through any change agree over the overlap, other heads do not, maps lead to the given voxels."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, make_virtual_volume
from deepssim.images.distort import distort
from deepssim.images.packs import ImagePack
from deepssim.images.resample_volumes import pulled
from deepssim.images.standardize import quantise
from deepssim.images.volume_distort import VOLUME_DISTORTIONS
from deepssim.registration.volume_pattern import pattern_of_rotations, square
from deepssim.registration.volume_poses import VOLUME_POSES, nearest_volume_pose
from deepssim.registration.volume_proof import (
    VOLUME_CUES,
    VolumeEvidence,
    aligned,
    best_starts,
    between_volumes,
    prove_volumes,
    without_volume_proof,
)
from deepssim.registration.volume_registration import Levels, prepare_volume
from tests.audit.scans import head
from tests.registration.test_volume_registration import odd_volumes

UNCHANGED = VOLUME_POSES[0]
CORRELATION, SSIM = VOLUME_CUES.index("correlation registered"), VOLUME_CUES.index("SSIM registered")


def as_bytes(volume: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(volume / volume.max(), 0, 1)).astype(np.uint8)


def made(seed: int, side: int = 48) -> np.ndarray:
    return as_bytes(head(np.random.default_rng(seed), side))


@pytest.fixture(scope="module")
def real() -> Levels:
    return Levels(prepare_volume(made(1)))


def prove_from_patterns(real: Levels, other: np.ndarray) -> VolumeEvidence:
    moving = Levels(prepare_volume(other))
    start = best_starts(real, moving, pattern_of_rotations(real.values), 1)[0]
    return prove_volumes(real, moving, start)


def test_the_same_volume_has_every_cue_1(real):
    found = prove_volumes(real, real, UNCHANGED)
    np.testing.assert_allclose(found.cues, 1, atol=0.005)  # matched intensities end at those of the overlap
    assert found.cues.shape == (len(VOLUME_CUES),)
    assert found.cues.dtype == np.float32
    assert found.overlap == 1
    np.testing.assert_allclose(found.transform, np.eye(3, 4), atol=0.02)


@pytest.mark.parametrize("number", range(48))
def test_the_pose_of_a_copy_is_found(number, real):
    """The first start undoes each order and direction of the axes; what follows is that of the unchanged volume."""
    pose = VOLUME_POSES[number]
    moving = Levels(prepare_volume(np.ascontiguousarray(pose.of(made(1)))))
    start = best_starts(real, moving, pattern_of_rotations(real.values), 1)[0]
    assert nearest_volume_pose(start) == pose
    undone, _ = pulled(moving.values, start, real.values.shape)
    assert np.abs(undone - real.values).mean() < 0.01


@pytest.mark.parametrize("number", [9, 30, 47])
def test_copies_in_a_pose_are_proved_and_the_map_leads_to_their_voxels(number, real):
    pose = VOLUME_POSES[number]
    found = prove_from_patterns(real, np.ascontiguousarray(pose.of(made(1))))
    assert found.cues.min() > 0.97
    assert found.overlap > 0.99
    np.testing.assert_allclose(found.transform, pose.matrix(48), atol=0.3)


@pytest.fixture(scope="module")
def patients() -> np.ndarray:
    """Scans of five virtual patients."""
    options = VirtualPatientsConfig()
    scans = [make_virtual_volume(make_patient(row, options, 0), Contrast.T1, (40, 40, 40)).values for row in range(5)]
    return np.stack([quantise(scan, 8) for scan in scans])


@pytest.fixture(scope="module")
def highest_of_others(patients) -> np.ndarray:
    real = Levels(prepare_volume(patients[0]))
    return np.max([prove_from_patterns(real, other).cues for other in patients[1:]], axis=0)


@pytest.mark.parametrize("name", VOLUME_DISTORTIONS)
def test_copies_through_any_change_have_more_than_other_patients(name, patients, highest_of_others):
    pack = ImagePack(patients[:2], ["copied", "other"])
    copy = distort(pack, name, 0, changes=VOLUME_DISTORTIONS).images[0]
    found = prove_from_patterns(Levels(prepare_volume(patients[0])), copy)
    assert found.transform is not None
    assert found.cues[CORRELATION] > highest_of_others[CORRELATION] + 0.02
    assert (found.cues[3:] > highest_of_others[3:]).any()


def test_other_patients_have_clearly_less(highest_of_others):
    assert highest_of_others[CORRELATION] < 0.5
    assert highest_of_others[SSIM] < 0.8
    assert highest_of_others.max() < 0.95


def test_evidence_is_from_minus_1_to_1_whatever_the_volumes(real):
    for name in ("line", "two points", "one slice", "one voxel", "faint", "constant", "negative"):
        odd = Levels(prepare_volume(odd_volumes()[name]))
        for first, second in ((odd, real), (real, odd)):
            found = prove_volumes(first, second, UNCHANGED)
            assert np.isfinite(found.cues).all(), name
            assert np.abs(found.cues).max() <= 1.0001, name
            assert 0 <= found.overlap <= 1, name


@pytest.mark.parametrize("name", ["plane", "noise", "negative", "smaller than a window", "constant"])
def test_odd_volumes_are_copies_of_themselves(name):
    odd = Levels(prepare_volume(odd_volumes()[name]))
    assert prove_volumes(odd, odd, UNCHANGED).cues[CORRELATION] > 0.99


def test_empty_volumes_prove_nothing(real):
    empty = Levels(prepare_volume(np.zeros((24, 24, 24), np.uint8)))
    for first, second in ((empty, empty), (empty, real), (real, empty)):
        assert not prove_volumes(first, second, UNCHANGED).cues.any()


def test_volumes_that_do_not_overlap_have_no_map(real):
    away = np.eye(3, 4)
    away[:, 3] = 200
    found = prove_volumes(real, real, away, close=True)
    assert found.transform is None
    assert found.overlap < 0.2
    assert not found.cues[1:].any()
    assert without_volume_proof(0.4).cues.tolist() == pytest.approx([0.4, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("first", "second"), [((40, 51, 33), (30, 30, 64)), ((48, 48, 48), (31, 47, 35)), ((33, 32, 31),) * 2]
)
def test_maps_between_given_volumes_are_exact_about_the_centres_of_voxels(first, second):
    """What is at one place of both prepared volumes is at places of the given ones to which the map leads, whatever their shapes."""
    volumes = [np.zeros(shape, np.uint8) for shape in (first, second)]
    for volume, offset in zip(volumes, (0, 2), strict=True):
        middle = np.array(volume.shape) // 2 - offset
        volume[((np.indices(volume.shape) - middle.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 100] = 200
    real, other = (prepare_volume(volume) for volume in volumes)
    found = between_volumes(np.eye(3, 4), real, other)
    for place in ((0, 0, 0), (10.5, 31, 60)):
        here, there = (item.placement @ [*place, 1] for item in (real, other))
        np.testing.assert_allclose(found @ [*here, 1], there, atol=1e-9)
    middles = [np.array(volume.shape) // 2 - offset for volume, offset in zip(volumes, (0, 2), strict=True)]
    np.testing.assert_allclose(found @ [*middles[0], 1], middles[1], atol=1e-6)  # equal balls about both
    np.testing.assert_allclose(found[:, :3], np.eye(3), atol=1e-9)


@pytest.mark.parametrize("shape", [(48, 48, 48), (52, 60, 48)])
def test_aligned_pictures_put_the_copy_onto_the_real_volume(shape):
    volume = made(1)
    linear = np.array([[1.06, 0.05, 0], [0, 0.95, 0.04], [0.03, 0, 1.03]])
    centre = np.full(3, 23.5)
    moved = affine_transform(volume[:, ::-1].astype(float), linear, centre - linear @ centre, order=1)
    other = np.zeros(shape, np.uint8)
    other[: shape[0], : shape[1], : shape[2]][:48, :48, :48] = np.rint(moved)
    found, mask = aligned(volume, other)
    assert found.shape == volume.shape
    assert found.dtype == np.uint8
    assert mask.dtype == bool
    assert not found[~mask].any()
    inside = volume > 0
    assert mask[inside].mean() > 0.97
    before = np.corrcoef(other[:48, :48, :48][inside], volume[inside])[0, 1]
    after = np.corrcoef(found[inside].astype(float), volume[inside])[0, 1]
    assert after > 0.85 > before + 0.3


def test_the_map_is_that_of_the_places_of_both_volumes():
    """A copy in a larger volume, shifted: what the map says is where each voxel went."""
    volume = made(1, 32)
    other = np.zeros((44, 50, 39), np.uint8)
    other[7:39, 4:36, 5:37] = volume
    found = prove_volumes(prepare_volume(volume), prepare_volume(other), UNCHANGED)
    np.testing.assert_allclose(found.transform, np.column_stack([np.eye(3), [7, 4, 5]]), atol=0.2)
    assert np.linalg.det(square(found.transform)) == pytest.approx(1, abs=0.02)
    assert found.cues.min() > 0.95
