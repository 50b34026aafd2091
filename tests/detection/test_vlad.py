import numpy as np
import pytest

from deepssim.detection.vlad import WORDS, learn_vocabulary


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
