"""The prepared real images: the same whatever the number of threads, and compared under every symmetry."""

import cv2
import numpy as np
import pytest

from deepssim.detection.gallery import Gallery, _products, build_gallery, prepare_all, single_threaded_libraries
from deepssim.detection.pattern import LENGTH
from deepssim.images.packs import ImagePack
from deepssim.registration.keypoints import LEVELS, SYMMETRIES
from deepssim.registration.poses import POSES
from deepssim.registration.proof import prepare
from tests.audit.folders import picture


def packed(*images: np.ndarray) -> ImagePack:
    return ImagePack(np.stack(images), [f"image-{number}" for number in range(len(images))])


@pytest.fixture(scope="module")
def pack() -> ImagePack:
    random = np.random.default_rng(8)
    return packed(*(picture(random, 96) for _ in range(5)))


@pytest.fixture(scope="module")
def gallery(pack) -> Gallery:
    return build_gallery(pack, 3)


def test_sizes(gallery):
    assert len(gallery.prepared) == 5
    assert gallery.patterns.shape == (8, 5, LENGTH)
    assert gallery.patterns.dtype == np.float32
    for vocabulary, vectors in zip(gallery.vocabularies, gallery.vectors, strict=True):
        assert (vectors.shape, vectors.dtype) == ((5, vocabulary.length), np.float32)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_gallery_depends_on_images_and_seed_only(threads, pack, gallery):
    again = build_gallery(pack, 3, threads=threads)
    for one, other in zip(gallery.vectors, again.vectors, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(gallery.patterns, again.patterns)


def test_images_are_prepared_in_their_order(pack):
    for threads in (1, 4):
        for item, image in zip(prepare_all(pack, threads=threads), pack.images, strict=True):
            np.testing.assert_array_equal(item.small, prepare(image).small)


@pytest.mark.parametrize("symmetry", range(len(SYMMETRIES)))
def test_keypoints_are_compared_under_every_symmetry(symmetry, gallery, pack):
    mirrored, negative = SYMMETRIES[symmetry]
    images = pack.images[:, :, ::-1] if mirrored else pack.images
    others = [prepare(np.ascontiguousarray(255 - image if negative else image)) for image in images]
    for scores, best in gallery.keypoint_scores(others):
        np.testing.assert_array_equal(scores.argmax(axis=1), range(5))
        np.testing.assert_array_equal(np.diag(best), symmetry)
        assert np.diag(scores).min() > 0.6
    assert len(gallery.keypoint_scores(others)) == len(LEVELS)


def test_patterns_are_compared_in_every_pose(gallery, pack):
    for number, pose in enumerate(POSES):
        scores, poses = gallery.pose_scores([prepare(np.ascontiguousarray(pose.of(image))) for image in pack.images])
        np.testing.assert_array_equal(scores.argmax(axis=1), range(5))
        np.testing.assert_array_equal(np.diag(poses), number)


def test_flat_images_make_a_gallery():
    gallery = build_gallery(packed(*np.zeros((2, 16, 16), np.uint8)), 0)
    for scores, _ in gallery.keypoint_scores(gallery.prepared):
        np.testing.assert_array_equal(scores, np.zeros((2, 2)))


def test_opencv_has_its_threads_again_whatever_happened():
    def fail() -> None:
        with single_threaded_libraries():
            assert cv2.getNumThreads() == 1
            raise KeyError

    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        with pytest.raises(KeyError):
            fail()
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_products_with_a_large_gallery_do_not_depend_on_how_many_images_there_are(random):
    vectors = random.normal(size=(2100, 512)).astype(np.float32)  # beyond what is multiplied image by image
    queries = random.normal(size=(40, len(SYMMETRIES), 512)).astype(np.float32)
    with single_threaded_libraries():
        together = _products(queries, vectors)
        for rows in ([7], [39], range(20, 39)):
            np.testing.assert_array_equal(together[rows], _products(queries[rows], vectors))
        np.testing.assert_array_equal(_products(queries, vectors[:10]), queries @ vectors[:10].T)
    np.testing.assert_allclose(together, np.einsum("nsd,td->nst", queries, vectors, dtype=np.float64), atol=1e-3)
