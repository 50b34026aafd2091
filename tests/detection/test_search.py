"""The search: originals are found in any pose, excluded images never, and neither batches nor threads change a number."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from deepssim.detection import search as module
from deepssim.detection.gallery import Gallery, build_gallery
from deepssim.detection.search import Cosines, Found, search
from deepssim.images.packs import ImagePack
from deepssim.registration.poses import POSES
from deepssim.registration.proof import CUES
from tests.audit.folders import picture

COUNT = 8


def packed(images: Sequence[np.ndarray]) -> ImagePack:
    return ImagePack(np.stack(images), [f"image-{number}" for number in range(len(images))])


@pytest.fixture(scope="module")
def pack() -> ImagePack:
    random = np.random.default_rng(4)
    return packed([picture(random, 96) for _ in range(COUNT)])


@pytest.fixture(scope="module")
def gallery(pack) -> Gallery:
    return build_gallery(pack, 0)


def equal(first: Found, second: Found, *, within: float = 0) -> None:
    for item in dataclasses.fields(Found):
        one, other = getattr(first, item.name), getattr(second, item.name)
        np.testing.assert_allclose(one, other, rtol=0, atol=within if one.dtype == np.float32 else 0)


def test_the_original_has_the_strongest_evidence_in_every_pose(gallery, pack):
    posed = packed([np.ascontiguousarray(pose.of(pack.images[row % COUNT])) for row, pose in enumerate(POSES)])
    found = search(gallery, posed, k=2)
    originals = np.arange(len(POSES)) % COUNT
    rows = np.arange(len(POSES))
    for cue in range(len(CUES)):
        best = np.where(found.partners >= 0, found.cues[..., cue], -np.inf).argmax(axis=1)
        np.testing.assert_array_equal(found.partners[rows, best], originals)
        assert found.cues[rows, best, cue].min() > (40 if cue < 2 else 0.95)
    right = found.partners == originals[:, None]
    assert found.proved[right].all()
    assert found.overlap[right].min() > 0.95


def test_candidates_of_an_image_are_different_real_images(gallery, pack):
    found = search(gallery, pack, k=3)
    assert found.partners.shape == (COUNT, min(COUNT, 9))
    for partners in found.partners:
        known = partners[partners >= 0]
        assert len(set(known)) == len(known) >= 3
        assert (partners[len(known) :] == -1).all()


def test_only_the_most_promising_candidates_are_registered(gallery, pack):
    found = search(gallery, pack, k=3)
    assert (found.proved.sum(axis=1) <= 2).all()
    assert found.proved.any(axis=1).all()
    assert not found.cues[..., 3:][~found.proved].any()  # SSIM of pairs that were not registered


def others_in_threes(rows: np.ndarray) -> np.ndarray:
    return rows[:, None] % 3 == np.arange(COUNT) % 3


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("threads", [1, 4])
def test_batches_and_threads_change_no_result(batch, threads, gallery, pack, monkeypatch):
    expected = search(gallery, pack, k=2, excluded=others_in_threes)
    monkeypatch.setattr(module, "_BATCH", batch)
    found = search(gallery, pack, k=2, excluded=others_in_threes, threads=threads)
    equal(found, expected, within=1e-6)  # products of matrices of another size round differently
    equal(search(gallery, pack, k=2, excluded=others_in_threes), found)


def test_an_image_goes_the_same_way_alone_and_among_others(gallery, pack):
    everything = search(gallery, pack, k=2)
    for row in (0, 5):
        alone = search(gallery, packed(pack.images[row : row + 1]), k=2)
        equal(alone, everything.part(np.array([row])), within=1e-6)


def test_excluded_images_never_appear(gallery, pack):
    names = np.arange(COUNT) // 2
    found = search(gallery, pack, k=COUNT, excluded=lambda rows: names[rows][:, None] == names)
    for row, partners in enumerate(found.partners):
        assert {int(partner) for partner in partners if partner >= 0} == {
            other for other in range(COUNT) if names[other] != names[row]
        }


def test_images_that_are_compared_with_none_have_no_candidates(gallery, pack):
    found = search(gallery, pack, k=2, excluded=lambda rows: np.ones((len(rows), COUNT), bool))
    assert (found.partners == -1).all()
    assert not found.cues.any()
    assert not found.proved.any()


@pytest.mark.parametrize("k", [COUNT, 1000])
def test_more_candidates_than_real_images(k, gallery, pack):
    found = search(gallery, pack, k=k)
    assert found.partners.shape == (COUNT, COUNT)
    np.testing.assert_array_equal(np.sort(found.partners, axis=1), np.tile(np.arange(COUNT), (COUNT, 1)))


def test_a_gallery_of_one_image(pack):
    single = build_gallery(packed(pack.images[:1]), 0)
    found = search(single, pack, k=3)
    np.testing.assert_array_equal(found.partners, np.zeros((COUNT, 1)))
    assert found.cues[0, 0, 3] > 0.99
    assert found.cues[1:, 0, 3].max() < 0.6


def test_embeddings_are_one_more_source_and_one_more_cue(gallery, pack, random):
    other = random.normal(size=(COUNT, 5)).astype(np.float32)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    real = other[::-1].copy()  # the encoder sees each image in the last but one of them, and so on
    found = search(gallery, pack, k=1, cosines=Cosines(real, other))
    assert found.cues.shape == (COUNT, 4, len(CUES) + 1)
    for row in range(COUNT):
        assert COUNT - 1 - row in found.partners[row]
        for partner, cosine in zip(found.partners[row], found.cues[row, :, -1], strict=True):
            assert cosine == pytest.approx(float(other[row] @ real[partner]) if partner >= 0 else 0, abs=1e-6)


def test_no_images_have_no_candidates(gallery):
    found = search(gallery, ImagePack(np.zeros((0, 96, 96), np.uint8), []), k=3)
    assert found.partners.shape == (0, COUNT)


def test_flat_images_are_compared_as_well(gallery, pack):
    flat = packed(np.stack([np.full((96, 96), value, np.uint8) for value in (0, 128, 255)]))
    found = search(gallery, flat, k=2)
    assert np.isfinite(found.cues).all()
    assert found.cues.max() < 0.7
    equal(search(gallery, flat, k=2), found)


def test_what_is_found_takes_little_memory(gallery, pack):
    found = search(gallery, pack, k=3)
    per_image = sum(getattr(found, item.name).nbytes for item in dataclasses.fields(Found)) / COUNT
    assert per_image <= 9 * (8 + 4 * len(CUES) + 4 + 1)  # 20,000 images: 6 MB
