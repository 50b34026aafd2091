"""Keypoints: permuted descriptors are those of the other image, a known map is recovered, odd images are no trouble."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepssim.registration.keypoints import (
    FRAME,
    LEVELS,
    MOST,
    NO_MATCH,
    SYMMETRIES,
    Keypoints,
    find_keypoints,
    match,
    plausible,
    symmetric_descriptors,
    unit_descriptors,
)
from tests.audit.folders import picture

IMAGE = picture(np.random.default_rng(5), 128)


def changed(image: np.ndarray, symmetry: int) -> np.ndarray:
    """Mirror and invert an image as a row of `SYMMETRIES` says."""
    mirrored, negative = SYMMETRIES[symmetry]
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    return 255 - image if negative else image


def moved(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def rotation(degrees: float, scale: float = 1.0, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """Return a rotation about the middle of the frame, scaled, then shifted, (2, 3)."""
    middle = (FRAME - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, scale)
    matrix[:, 2] += right, down
    return matrix


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Return how far apart two maps put places of the inner half of the frame, in pixels, at most."""
    places = np.array([[x, y, 1] for x in (32, 64, 96) for y in (32, 64, 96)], float)
    return float(np.linalg.norm(places @ (first - second).T, axis=1).max())


@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("symmetry", range(len(SYMMETRIES)))
def test_permuted_descriptors_are_those_of_the_mirrored_and_negative_image(symmetry, level):
    own, other = find_keypoints(IMAGE)[level], find_keypoints(changed(IMAGE, symmetry))[level]
    mirrored, negative = SYMMETRIES[symmetry]
    places = own.places.astype(np.float64)
    if mirrored:
        places[:, 0], places[:, 3] = FRAME - 1 - places[:, 0], np.pi - places[:, 3]
    if negative:
        places[:, 3] += np.pi
    turned = np.angle(np.exp(1j * (places[:, None, 3] - other.places[None, :, 3])))
    away = np.linalg.norm(places[:, None, :2] - other.places[None, :, :2], axis=2) + 5 * np.abs(turned)
    same, nearest = away.min(axis=1) < 1, away.argmin(axis=1)
    assert same.mean() > 0.7
    extracted = unit_descriptors(other.descriptors[nearest[same]])
    cosines = [
        np.quantile((unit_descriptors(permuted[same]) * extracted).sum(axis=1), 0.1)
        for permuted in symmetric_descriptors(own.descriptors)
    ]
    assert cosines[symmetry] > 0.99
    assert max(value for row, value in enumerate(cosines) if row != symmetry) < 0.75


@pytest.mark.parametrize("symmetry", range(len(SYMMETRIES)))
def test_a_known_map_is_recovered_whatever_the_symmetry(symmetry):
    known = rotation(17, 0.9, 6, -9)
    other = moved(changed(IMAGE, symmetry), known)
    mirror = np.diag([1.0, 1, 1])
    if SYMMETRIES[symmetry][0]:
        mirror[0] = -1, 0, FRAME - 1
    found = match(find_keypoints(IMAGE)[0], find_keypoints(other)[0], symmetry)
    assert found.inliers > 40
    assert found.symmetry == symmetry
    assert apart(found.matrix, known @ mirror) < 1
    for wrong in set(range(len(SYMMETRIES))) - {symmetry}:
        assert match(find_keypoints(IMAGE)[0], find_keypoints(other)[0], wrong).inliers < found.inliers / 5


@pytest.mark.parametrize("symmetry", range(len(SYMMETRIES)))
def test_the_map_of_a_mirror_image_is_exact(symmetry):
    """But for OpenCV's keypoints, which lie a quarter of a pixel too far to the right in both images."""
    mirror = np.array([[-1.0, 0, FRAME - 1 + 0.5], [0, 1, 0]]) if SYMMETRIES[symmetry][0] else np.eye(3)[:2]
    found = match(find_keypoints(IMAGE)[0], find_keypoints(changed(IMAGE, symmetry))[0], symmetry)
    assert apart(found.matrix, mirror) < 0.1


@settings(max_examples=12, deadline=None)
@given(
    degrees=st.floats(-180, 180), scale=st.floats(0.75, 1.3), right=st.floats(-15, 15), down=st.floats(-15, 15),
    level=st.sampled_from(range(len(LEVELS))),
)  # fmt: skip
def test_any_rotation_scale_and_shift_is_recovered(degrees, scale, right, down, level):
    known = rotation(degrees, scale, right, down)
    found = match(find_keypoints(IMAGE)[level], find_keypoints(moved(IMAGE, known))[level], 0)
    assert found.inliers > 15
    assert apart(found.matrix, known) < 1.5


def test_pairs_name_keypoints_at_one_place():
    known = rotation(-30, 1.1)
    own, other = find_keypoints(IMAGE)[0], find_keypoints(moved(IMAGE, known))[0]
    found = match(own, other, 0)
    assert found.pairs.shape == (found.inliers, 2)
    expected = own.places[found.pairs[:, 0], :2] @ known[:, :2].T + known[:, 2]
    assert np.linalg.norm(expected - other.places[found.pairs[:, 1], :2], axis=1).max() < 3.5


def test_unrelated_images_share_few_keypoints(random):
    images = [find_keypoints(picture(random, 128)) for _ in range(6)]
    counts = [
        match(first[level], second[level], symmetry).inliers
        for row, first in enumerate(images) for second in images[row + 1 :]
        for level in range(len(LEVELS)) for symmetry in range(len(SYMMETRIES))
    ]  # fmt: skip
    assert max(counts) < 8


@pytest.mark.parametrize(("column", "change"), [(3, np.deg2rad(60)), (2, 2.0)])
def test_keypoints_must_be_turned_and_scaled_as_the_map_is(column, change):
    own = find_keypoints(IMAGE)[0]
    places = own.places.copy()
    places[:, column] = places[:, column] + change if column == 3 else places[:, column] * change
    assert match(own, own, 0).inliers == len(own.places)
    assert match(own, Keypoints(places, own.descriptors), 0).inliers == 0


def test_the_frame_does_not_depend_on_the_size_of_the_image():
    large = cv2.resize(IMAGE, (512, 512), interpolation=cv2.INTER_CUBIC)
    for level in range(len(LEVELS)):
        found = match(find_keypoints(large)[level], find_keypoints(IMAGE)[level], 0)
        assert found.inliers > 100
        assert apart(found.matrix, np.eye(3)[:2]) < 1


def test_sixteen_bits_say_the_same_as_eight():
    for own, other in zip(find_keypoints(IMAGE), find_keypoints(IMAGE.astype(np.uint16) * 257), strict=True):
        np.testing.assert_array_equal(own.places, other.places)
        np.testing.assert_array_equal(own.descriptors, other.descriptors)


def test_brightness_and_contrast_change_nothing():
    dark = (IMAGE // 4 + 20).astype(np.uint8)
    assert match(find_keypoints(IMAGE)[0], find_keypoints(dark)[0], 0).inliers > 100


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (1, 300), (128, 128)])
def test_constant_images_have_no_keypoints(shape, value):
    for found in find_keypoints(np.full(shape, value, np.uint8)):
        assert found.places.shape == (0, 4)
        assert found.descriptors.shape == (0, 128)
        assert match(found, find_keypoints(IMAGE)[0], 0) is NO_MATCH
        assert match(find_keypoints(IMAGE)[0], found, 3) is NO_MATCH


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (1, 300), (7, 20), (300, 90)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_any_shape_are_looked_at(shape, dtype, random):
    image = random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    for found in find_keypoints(image):
        assert len(found.places) == len(found.descriptors) <= MOST
        assert np.isfinite(found.places).all()
        assert (found.places[:, :2] < FRAME).all()


def test_fewer_than_four_keypoints_prove_nothing():
    own = find_keypoints(IMAGE)[0]
    for count in range(4):
        few = Keypoints(own.places[:count], own.descriptors[:count])
        assert match(few, own, 0) is NO_MATCH
        assert match(own, few, 0) is NO_MATCH


def test_keypoints_take_little_memory():
    for found in find_keypoints(IMAGE):
        assert (found.places.dtype, found.descriptors.dtype) == (np.float32, np.uint8)


def test_descriptors_have_length_1():
    np.testing.assert_allclose(
        np.linalg.norm(unit_descriptors(find_keypoints(IMAGE)[0].descriptors), axis=1), 1, rtol=1e-5
    )
    np.testing.assert_array_equal(unit_descriptors(np.zeros((1, 128), np.uint8)), 0)


@given(st.lists(st.floats(-4, 4), min_size=4, max_size=4))
def test_plausible_maps_stretch_no_direction_too_much(values):
    linear = np.array(values).reshape(2, 2)
    stretches = np.linalg.svd(linear, compute_uv=False)
    if min(abs(stretches - limit).min() for limit in (0.4, 2.5)) > 1e-6:  # not where rounding decides
        assert plausible(np.column_stack([linear, [3, -200]])) == (stretches.min() > 0.4 and stretches.max() < 2.5)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_not_plausible(broken):
    assert not plausible(np.array([[1, 0, broken], [0, 1, 0]]))
