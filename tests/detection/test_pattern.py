"""Coarse patterns: permuted and negated by poses, and blind to what does not change low frequencies."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepssim.detection.pattern import LENGTH, best_poses, pattern, pattern_in_poses
from deepssim.registration.poses import POSES
from tests.audit.folders import picture

IMAGE = picture(np.random.default_rng(1), 64)


@pytest.mark.parametrize("pose", POSES)
def test_the_pattern_in_a_pose_is_that_of_the_posed_image(pose):
    posed = pattern(np.ascontiguousarray(pose.of(IMAGE)))
    expected = pattern_in_poses(IMAGE)[POSES.index(pose) % 8] * (-1 if pose.negative else 1)
    assert posed @ expected == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("pose", POSES)
def test_the_best_pose_of_the_real_image_is_found(pose, random):
    others = [picture(random, 64) for _ in range(4)]
    gallery = np.stack([pattern_in_poses(image) for image in (*others, IMAGE)], axis=1)
    scores, poses = best_poses(pattern(np.ascontiguousarray(pose.of(IMAGE)))[None], gallery)
    assert scores.shape == poses.shape == (1, 5)
    assert scores.argmax() == 4
    assert scores[0, 4] == pytest.approx(1, abs=1e-3)
    assert POSES[poses[0, 4]] == pose


def test_patterns_have_length_1(random):
    for size in (8, 32, 64, 100):
        values = pattern(picture(random, size))
        assert (values.shape, values.dtype) == ((LENGTH,), np.float32)
        assert np.linalg.norm(values) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_constant_images_have_no_pattern(value):
    flat = np.full((64, 64), value, np.uint8)
    np.testing.assert_array_equal(pattern(flat), 0)
    scores, _ = best_poses(pattern(flat)[None], pattern_in_poses(IMAGE)[:, None])
    assert scores == 0


@given(gain=st.floats(0.3, 1), offset=st.floats(0, 60))
def test_brightness_and_contrast_change_little(gain, offset):
    other = np.rint(np.clip(gain * (IMAGE * 0.7) + offset, 0, 255)).astype(np.uint8)
    assert pattern(other) @ pattern(IMAGE) > 0.98


def test_noise_and_blur_change_little_and_other_images_much(random):
    noisy = np.clip(IMAGE + random.normal(scale=40, size=IMAGE.shape), 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(IMAGE, (0, 0), 1.5)
    same = min(pattern(noisy) @ pattern(IMAGE), pattern(blurred) @ pattern(IMAGE))
    others = [best_poses(pattern(picture(random, 64))[None], pattern_in_poses(IMAGE)[:, None])[0] for _ in range(20)]
    assert same > 0.85
    assert np.max(others) < 0.5
