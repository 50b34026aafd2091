import numpy as np
import pytest
from scipy.ndimage import affine_transform, rotate
from skimage.metrics import structural_similarity

from deepssim.registration.exact import LEAST_OVERLAP, exact_ssim, register, rescale_map
from deepssim.registration.poses import POSES, Pose, nearest_pose
from deepssim.registration.proof import best_symmetries, first_look, prepare, prove
from deepssim.similarity.ssim import ssim_of_arrays
from tests.audit.folders import picture


def registered(real, other, pose=POSES[0]):
    prepared = prepare(real), prepare(other)
    return register(real, other, prove(*prepared, first_look(*prepared, best_symmetries(*prepared), pose, 0.0)))


@pytest.mark.parametrize(("side", "dtype", "factor"), [(48, np.uint8, 1), (96, np.uint16, 257)])
def test_without_motion_it_is_the_ssim_of_the_matrices(random, side, dtype, factor):
    real, other = (picture(random, side).astype(dtype) * factor for _ in range(2))
    expected = ssim_of_arrays(real[None], other[None])[0, 0]
    assert exact_ssim(real, other) == (pytest.approx(expected, abs=1e-5), 1.0)


def test_over_an_overlap_it_is_the_ssim_of_the_parts(random):
    """A shift by whole pixels leaves two rectangles, which scikit-image compares."""
    real, other = picture(random, 64), picture(random, 64)
    ssim, overlap = exact_ssim(real, other, np.array([[1.0, 0, 5], [0, 1, -9]]))
    parts = [image.astype(float) for image in (real[9:, :-5], other[:-9, 5:])]
    scores = [(part - part.mean()) / part.std() for part in parts]
    assert ssim == pytest.approx(structural_similarity(*scores, data_range=np.ptp(scores[0])), abs=1e-6)
    assert overlap == pytest.approx(55 * 59 / 64**2)


def test_nothing_to_compare_is_no_similarity(random):
    real = picture(random, 64)
    assert exact_ssim(real, np.full_like(real, 9)) == (0.0, 1.0)
    assert exact_ssim(real, real, np.array([[1.0, 0, 62], [0, 1, 0]]))[0] == 0.0


@pytest.mark.parametrize("pose", POSES, ids=[pose.words for pose in POSES])
def test_poses_are_undone_and_named(random, pose):
    real = picture(random, 64)
    found = registered(real, np.ascontiguousarray(pose.of(real)), pose)
    assert found.ssim > 0.999
    assert found.overlap == 1
    assert found.pose == pose == nearest_pose(pose.matrix(64), negative=pose.negative)


@pytest.mark.parametrize("shape", [(200, 200), (96, 128)])
def test_geometry_is_refined_at_the_resolution_of_the_images(random, shape):
    whole = rotate(picture(random, 320), 4.0, reshape=False, order=1)
    real = whole[40 : 40 + shape[0], 40 : 40 + shape[1]]
    moved = affine_transform(whole, [[1.02, 0.1], [-0.1, 0.99]], offset=(10, -3), order=1)[
        40 : 40 + shape[0], 40 : 40 + shape[1]
    ]
    found = registered(np.ascontiguousarray(real), np.ascontiguousarray(moved))
    assert exact_ssim(real, moved)[0] < 0.7 < 0.9 < found.ssim
    assert LEAST_OVERLAP < found.overlap < 1
    assert found.pose.words == "unchanged"


def test_other_pictures_do_not_become_copies(random):
    real = picture(random, 64)
    assert max(registered(real, picture(random, 64)).ssim for _ in range(10)) < 0.7


def test_a_map_of_resized_images():
    shift = rescale_map(np.array([[1.0, 0, 2], [0, 1, -1]]), (64, 64), (128, 64))
    np.testing.assert_allclose(shift, [[1, 0, 2], [0, 1, -2]])
    mirror = Pose(0, True, False)
    np.testing.assert_allclose(rescale_map(mirror.matrix(64), (64, 64), (200, 200)), mirror.matrix(200))


def test_poses_in_words():
    assert Pose(3, True, True).words == "mirrored, rotated by 270 degrees, negative"
