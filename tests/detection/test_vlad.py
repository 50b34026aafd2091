"""Vectors of keypoints: those of the definition, whatever the order, and none without keypoints."""

import numpy as np
import pytest

from deepssim.detection.vlad import DIMENSIONS, WORDS, Vocabulary, learn_vocabulary
from deepssim.registration.keypoints import WIDTH, find_keypoints
from tests.audit.folders import picture


@pytest.fixture(scope="module")
def descriptors() -> list[np.ndarray]:
    """Of four images."""
    random = np.random.default_rng(2)
    return [find_keypoints(picture(random, 128))[0].descriptors for _ in range(4)]


def test_directions_from_the_nearest_word_are_added_up():
    words = np.zeros((2, DIMENSIONS), np.float32)
    words[:, 1] = 0.3, 0.9
    vocabulary = Vocabulary(np.zeros(WIDTH, np.float32), np.eye(WIDTH, DIMENSIONS, dtype=np.float32), words)
    descriptors = np.zeros((3, WIDTH), np.uint8)
    descriptors[[0, 1, 2], [0, 1, 2]] = 9  # unit vectors along the first three axes
    sums = np.zeros((2, DIMENSIONS))
    sums[0, :3] = np.array([1, -0.6, 1]) / np.sqrt(1.09)  # the first and the third less the nearer word, of length 1
    sums[1, 1] = 1
    rooted = np.sign(sums) * np.sqrt(np.abs(sums))
    expected = (rooted / np.linalg.norm(rooted)).ravel()
    np.testing.assert_allclose(vocabulary.aggregate(descriptors), expected, atol=1e-5)
    assert vocabulary.length == 2 * DIMENSIONS


def test_vectors_have_length_1_and_do_not_depend_on_order(descriptors, random):
    vocabulary = learn_vocabulary(descriptors, 0)
    assert vocabulary.words.shape == (min(WORDS, len(np.concatenate(descriptors)) // 8), DIMENSIONS)
    np.testing.assert_allclose(vocabulary.axes.T @ vocabulary.axes, np.eye(DIMENSIONS), atol=1e-4)
    for part in descriptors:
        vector = vocabulary.aggregate(part)
        assert (vector.dtype, vector.shape) == (np.float32, (vocabulary.length,))
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert vocabulary.aggregate(random.permutation(part)) @ vector == pytest.approx(1, abs=1e-3)


def test_images_with_common_keypoints_are_most_similar(descriptors):
    vocabulary = learn_vocabulary(descriptors, 0)
    vectors = np.stack([vocabulary.aggregate(part) for part in descriptors])
    halves = np.stack([vocabulary.aggregate(part[::2]) for part in descriptors])
    similar = halves @ vectors.T
    np.testing.assert_array_equal(similar.argmax(axis=1), range(4))
    assert np.diag(similar).min() > similar[~np.eye(4, dtype=bool)].max() + 0.2


def test_images_without_keypoints_are_similar_to_none(descriptors):
    vocabulary = learn_vocabulary(descriptors, 0)
    np.testing.assert_array_equal(vocabulary.aggregate(np.zeros((0, WIDTH), np.uint8)), 0)


def test_words_depend_on_the_seed_only(descriptors):
    first, again, other = (learn_vocabulary(descriptors, seed) for seed in (4, 4, 2**40 + 1))
    np.testing.assert_array_equal(first.words, again.words)
    assert not np.array_equal(first.words, other.words)


@pytest.mark.parametrize("count", [2, 5, 40, WORDS, 600])
def test_images_with_few_descriptors_are_found_as_well(count, descriptors):
    """A descriptor that is a word of its own has no direction from it, so that its image would be similar to none."""
    few = [part[:count] for part in np.array_split(np.concatenate(descriptors), 2)]
    vocabulary = learn_vocabulary(few, 0)
    assert len(vocabulary.words) <= max(1, len(np.concatenate(few)) // 8)
    vectors = np.stack([vocabulary.aggregate(part) for part in few])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] < 0.5


def test_a_single_descriptor_has_no_direction(descriptors):
    vocabulary = learn_vocabulary([descriptors[0][:1]], 0)
    np.testing.assert_allclose(vocabulary.aggregate(descriptors[0][:1]), 0)
    assert np.linalg.norm(vocabulary.aggregate(descriptors[0])) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("nothing", [[], [np.zeros((0, WIDTH), np.uint8)]])
def test_images_without_descriptors_have_a_vocabulary(nothing, descriptors):
    vocabulary = learn_vocabulary(nothing, 0)
    assert vocabulary.words.shape == (1, DIMENSIONS)
    assert np.isfinite(vocabulary.aggregate(descriptors[0])).all()


@pytest.mark.parametrize("count", [1, 2, 30])
def test_few_keypoints_still_find_the_image_that_they_come_from(random, count):
    """With a word for each of few descriptors, a copy would have no direction from its words and find nothing."""
    images = [random.integers(0, 256, (count, 128), dtype=np.uint8) for _ in range(4)]
    assert 4 * count < WORDS
    vocabulary = learn_vocabulary(images, seed=0)
    vectors = np.stack([vocabulary.aggregate(image) for image in images])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert (vectors @ vectors.T).argmax(axis=1).tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(vocabulary.aggregate(images[0][:0]), 0)


def test_equal_descriptors_and_none_at_all_give_no_vector():
    same = np.full((3, 128), 7, np.uint8)
    for images in ([same, same], [same[:0]]):
        vector = learn_vocabulary(images, seed=0).aggregate(same)
        assert np.isfinite(vector).all()
