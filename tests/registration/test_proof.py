"""Proof by registration: copies through any change agree over the overlap, unrelated images do not, broken input is no trouble."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deepssim.detection.pattern import best_poses, pattern, pattern_in_poses
from deepssim.images.changes import bias_field, warp
from deepssim.registration import proof
from deepssim.registration.overlap import match_histogram
from deepssim.registration.poses import POSES, UNCHANGED
from deepssim.registration.proof import (
    CUES,
    SIDE,
    Evidence,
    Prepared,
    best_symmetries,
    first_look,
    local_flow,
    prepare,
    prove,
    refine,
)
from tests.audit.folders import picture

IMAGE = picture(np.random.default_rng(3), 128)
AFFINE, LOCAL = CUES.index("SSIM registered"), CUES.index("SSIM registered locally")


def prove_pair(real: Prepared, other: Prepared) -> Evidence:
    """Prove a pair as the search does, with the symmetry of keypoints that is best."""
    cosine, pose = best_poses(pattern(other.small)[None], pattern_in_poses(real.small)[:, None])
    look = first_look(real, other, best_symmetries(real, other), POSES[pose[0, 0]], float(cosine[0, 0]))
    return prove(real, other, look)


def turned(image: np.ndarray, degrees: float, scale: float = 1.0) -> np.ndarray:
    middle = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    return cv2.warpAffine(
        image, cv2.getRotationMatrix2D(middle, degrees, scale), image.shape[::-1], flags=cv2.INTER_CUBIC
    )


def shifted(image: np.ndarray, fraction: float) -> np.ndarray:
    apart = round(fraction * image.shape[1])
    return np.pad(image, ((0, 0), (apart, 0)))[:, : image.shape[1]]


def of_unit(image: np.ndarray, change) -> np.ndarray:
    return np.rint(255 * np.clip(change(image.astype(np.float32) / 255), 0, 1)).astype(np.uint8)


COPIES = {
    "unchanged": lambda image: image,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "quarter turn": lambda image: np.ascontiguousarray(np.rot90(image)),
    "transposed negative": lambda image: np.ascontiguousarray(255 - image.T),
    "rotated by 12": lambda image: turned(image, 12),
    "rotated by -40": lambda image: turned(image, -40),
    "shifted by a tenth": lambda image: shifted(image, 0.1),
    "shrunk": lambda image: turned(image, 0, 0.8),
    "cropped": lambda image: np.ascontiguousarray(image[12:-12, 12:-12]),
    "gamma 0.6": lambda image: of_unit(image, lambda unit: unit**0.6),
    "gamma 1.6": lambda image: of_unit(image, lambda unit: unit**1.6),
    "saturated": lambda image: of_unit(image, lambda unit: 1.5 * unit),
    "bias field": lambda image: of_unit(image, lambda unit: bias_field(unit, np.random.default_rng(1), strength=0.4)),
    "inverted": lambda image: 255 - image,
    "squashed": lambda image: cv2.resize(image, (image.shape[1] * 3 // 4, image.shape[0]), interpolation=cv2.INTER_AREA),
    "16 bits": lambda image: image.astype(np.uint16) * 257,
    "enlarged": lambda image: cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "mirrored, rotated, dark": lambda image: turned(of_unit(image[:, ::-1], lambda unit: 0.5 * unit), 8),
}  # fmt: skip


@pytest.mark.parametrize("name", COPIES)
def test_copies_agree_once_registered(name):
    evidence = prove_pair(prepare(IMAGE), prepare(COPIES[name](IMAGE)))
    assert evidence.cues[LOCAL] > 0.9
    assert evidence.cues[LOCAL] >= evidence.cues[AFFINE]
    assert 0.2 <= evidence.overlap <= 1


@pytest.fixture(scope="module")
def real_images(real_data: Path) -> list[np.ndarray]:
    """Two X-rays and two MR slices."""
    files = [
        sorted((real_data / folder).glob("*.*"))[row] for folder in ("chest_xray", "brain_slices") for row in (0, -1)
    ]
    return [np.asarray(Image.open(path).convert("L")) for path in files]


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_real_images_agree_once_registered(name, real_images):
    for image in real_images:
        assert prove_pair(prepare(image), prepare(COPIES[name](image))).cues[LOCAL] > 0.9


def test_real_images_of_different_subjects_do_not_agree(real_images):
    prepared = [prepare(image) for image in real_images]
    similarities = [
        prove_pair(first, second).cues[LOCAL]
        for row, first in enumerate(prepared) for second in prepared[row + 1 :]
    ]  # fmt: skip
    assert max(similarities) < 0.9


def test_unrelated_images_do_not_agree(random):
    prepared = [prepare(picture(random, 128)) for _ in range(5)]
    found = [prove_pair(first, second) for first in prepared for second in prepared if first is not second]
    assert max(item.cues[LOCAL] for item in found) < 0.6
    assert max(item.cues[:2].max() for item in found) < 8


def test_a_bias_field_is_taken_out():
    biased = of_unit(IMAGE, lambda unit: bias_field(unit, np.random.default_rng(1), strength=0.6))
    assert prove_pair(prepare(IMAGE), prepare(biased)).cues[AFFINE] > 0.97


def test_a_warp_is_taken_back_locally_only():
    warped = of_unit(IMAGE, lambda unit: warp(unit, np.random.default_rng(2), deviation=6))
    evidence = prove_pair(prepare(IMAGE), prepare(warped))
    assert evidence.cues[AFFINE] < 0.8
    assert evidence.cues[LOCAL] > evidence.cues[AFFINE] + 0.1


def test_the_map_is_that_of_the_copy():
    evidence = prove_pair(prepare(IMAGE), prepare(shifted(IMAGE, 12 / 128)))
    np.testing.assert_allclose(evidence.matrix, [[1, 0, 6], [0, 1, 0]], atol=0.25)  # 12 pixels of 128 are 6 of 64
    assert evidence.overlap == pytest.approx(1 - 6 / 64, abs=0.03)
    assert not evidence.negative
    assert prove_pair(prepare(IMAGE), prepare(255 - IMAGE)).negative


def test_keypoints_alone_start_a_registration():
    real, other = prepare(IMAGE), prepare(turned(IMAGE, 50))
    look = first_look(real, other, (0, 0), UNCHANGED, 0.1)
    evidence = prove(real, other, look, in_place=False)
    assert evidence.cues[AFFINE] > 0.9
    expected = cv2.getRotationMatrix2D(((SIDE - 1) / 2,) * 2, 50, 1)
    np.testing.assert_allclose(evidence.matrix, expected, atol=0.4)


def test_a_registration_starts_where_the_keypoints_say(monkeypatch):
    monkeypatch.setattr(proof, "refine", lambda fixed, moving, start: start)
    real, other = prepare(IMAGE), prepare(np.ascontiguousarray(IMAGE[::-1, ::-1]))
    evidence = prove(real, other, first_look(real, other, (0, 0), UNCHANGED, 0.1), in_place=False)
    # Places x become 63 - x; OpenCV's keypoints of both images lie an eighth of these pixels too far to the right and down.
    np.testing.assert_allclose(evidence.matrix, [[-1, 0, 63.25], [0, -1, 63.25]], atol=0.1)


def test_a_pair_without_geometry_has_no_similarity(random):
    real, other = prepare(IMAGE), prepare(picture(random, 128))
    look = first_look(real, other, (0, 0), POSES[9], 0.25)
    for evidence in (prove(real, other, look, in_place=False), proof.without_proof(look)):
        np.testing.assert_allclose(evidence.cues, [look.matches[0].inliers, look.matches[1].inliers, 0.25, 0, 0])
        assert (evidence.matrix, evidence.overlap, evidence.negative) == (None, 0, True)


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (7, 90), (128, 128)])
@pytest.mark.parametrize("value", [0, 100, 255])
def test_constant_images_agree_in_one_direction_only(shape, value):
    flat = prepare(np.full(shape, value, np.uint8))
    for evidence in (prove_pair(prepare(IMAGE), flat), prove_pair(flat, prepare(IMAGE))):
        assert np.isfinite(evidence.cues).all()
        assert evidence.cues[AFFINE:].max() < 0.7
        assert not evidence.cues[:2].any()


def test_nearly_empty_images_agree_in_one_direction_only():
    """Matched to the grey values of an image that is black but for a spot, any image is; that spot matched to it is no copy."""
    spot = np.zeros((128, 128), np.uint8)
    cv2.circle(spot, (40, 60), 5, 255, -1)
    for image in (spot, 255 - spot):
        assert prove_pair(prepare(IMAGE), prepare(image)).cues[AFFINE:].max() < 0.7


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (7, 90)])
def test_small_images_are_no_trouble(shape, random):
    images = [prepare(random.integers(0, 256, shape, dtype=np.uint8)) for _ in range(2)]
    for real in images:
        for other in images:
            assert np.isfinite(prove_pair(real, other).cues).all()


def test_one_keypoint_is_no_trouble():
    image = np.zeros((128, 128), np.uint8)
    cv2.circle(image, (50, 70), 6, 200, -1)
    prepared = prepare(image)
    assert prove_pair(prepared, prepare(IMAGE)).cues[:2].max() < 5
    assert np.isfinite(prove_pair(prepared, prepared).cues).all()


def test_refinement_that_does_not_converge_returns_the_start():
    start, flat = np.eye(3)[:2], np.zeros((64, 64), np.float32)
    assert refine(flat, flat, start) is start


def test_refinement_raises_what_is_no_lack_of_convergence(monkeypatch):
    with pytest.raises(cv2.error):
        refine(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.uint8), np.eye(3)[:2])

    def fail(*_):
        error = cv2.error("out of memory")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(cv2, "findTransformECC", fail)
    with pytest.raises(cv2.error, match="out of memory"):
        refine(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32), np.eye(3)[:2])


def test_refinement_never_stretches_more_than_a_copy_could_be(monkeypatch):
    monkeypatch.setattr(cv2, "findTransformECC", lambda *_: (0.9, np.array([[3, 0, 0], [0, 1, 0]], np.float32)))
    start = np.eye(3)[:2]
    assert refine(np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32), start) is start


def test_histogram_matching_by_hand():
    real = np.array([[0.0, 0.4, 0.8, 0.0]], np.float32)
    other = np.array([[0.2, 0.6, 1.0, 0.9]], np.float32)
    inside = np.array([[True, True, True, False]])  # the last pixel is mapped, but not counted
    np.testing.assert_allclose(match_histogram(real, other, inside), [[0.2, 0.6, 1.0, 0.2]], atol=1e-6)


@given(exponent=st.floats(0.4, 2.5), gain=st.floats(0.4, 1.0))
def test_histogram_matching_takes_back_any_increasing_change(exponent, gain):
    real = IMAGE.astype(np.float32) / 255
    other = gain * real**exponent
    found = match_histogram(real, other, np.ones(real.shape, bool))
    np.testing.assert_allclose(found, other, atol=0.03)


def test_what_does_not_move_stays_as_it_is():
    unit = IMAGE.astype(np.float32) / 255
    image, mask = proof.warp(unit, np.eye(3)[:2])
    np.testing.assert_allclose(image, unit, atol=1e-6)
    assert mask.all()
    np.testing.assert_allclose(proof.displace(unit, np.zeros((*unit.shape, 2), np.float32)), unit, atol=1e-6)
    assert np.abs(proof.local_flow(unit, unit, mask)).max() < 0.01


def test_a_warp_samples_places_of_the_moving_image():
    unit = IMAGE.astype(np.float32) / 255
    image, mask = proof.warp(unit, np.array([[1.0, 0, 5], [0, 1, -3]]))
    np.testing.assert_allclose(image[3:, :-5], unit[:-3, 5:], atol=1e-6)
    assert mask[3:, :-5].all()
    assert mask.sum() == 125 * 123


def test_a_displacement_is_estimated():
    unit = IMAGE.astype(np.float32) / 255
    flow = proof.local_flow(unit, np.roll(unit, 2, axis=1), np.ones(unit.shape, bool))
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [2, 0], atol=0.2)


@pytest.mark.parametrize("shape", [(15, 218), (218, 15), (12, 200), (8, 8), (2, 2), (1, 64), (16, 16)])
def test_flow_of_small_and_narrow_images_is_finite(shape, random):
    """OpenCV's flow kills the process where a side has fewer than 16 pixels."""
    image = random.random(shape).astype(np.float32)
    flow = local_flow(image, np.roll(image, 1, axis=1), np.ones(shape, bool))
    assert flow.shape == (*shape, 2)
    assert np.isfinite(flow).all()


def test_flow_is_in_pixels_of_the_image_whatever_is_enlarged():
    down, right = np.mgrid[:12, :100]
    moved, still = ((0.5 + 0.3 * np.sin((right - shift) / 7) * np.cos(down / 4)).astype(np.float32) for shift in (2, 0))
    flow = local_flow(still, moved, np.ones(still.shape, bool))
    assert np.median(flow[..., 0]) == pytest.approx(2, abs=0.4)
    assert np.median(flow[..., 1]) == pytest.approx(0, abs=0.4)
