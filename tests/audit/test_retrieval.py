import numpy as np
import pytest

from deepssim.audit.retrieval import distances, find_neighbours, nearest_two_ratios
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.topk import TopK


def embeddings(values, prefix):
    return Embeddings(np.asarray(values, np.float32), [f"{prefix}{n}" for n in range(len(values))], "x", "y")


@pytest.fixture
def sides(random):
    return [embeddings(random.normal(size=(count, 8)), name) for count, name in ((20, "t"), (30, "s"), (12, "h"))]


def test_the_two_nearest_agree_with_sorting_all_cosines(sides):
    found = find_neighbours(*sides)
    unit = [side.values / np.linalg.norm(side.values, axis=1, keepdims=True) for side in sides]
    for best, rows, columns in (
        (found.synthetic, 1, 0), (found.train, 0, 1), (found.holdout, 2, 0),
        (found.holdout_synthetic, 2, 1), (found.synthetic_holdout, 1, 2),
    ):  # fmt: skip
        expected = unit[rows] @ unit[columns].T
        np.testing.assert_array_equal(best.partners, np.argsort(-expected, axis=1)[:, :2])
        np.testing.assert_allclose(best.scores, -np.sort(-expected, axis=1)[:, :2], atol=1e-6)


def test_one_image_on_each_side_is_enough(sides):
    found = find_neighbours(*(Embeddings(side.values[:1], side.keys[:1], "x", "y") for side in sides))
    assert found.synthetic.scores.shape == found.holdout.scores.shape == (1, 1)
    assert np.isnan(nearest_two_ratios(found.synthetic)).all()


def test_distances_are_those_of_unit_vectors(random):
    first, second = (row / np.linalg.norm(row) for row in random.normal(size=(2, 6)))
    assert distances(np.array([first @ second]))[0] == pytest.approx(np.linalg.norm(first - second))
    assert distances(np.array([1.0000001]))[0] == 0


def test_ratios_match_a_hand_calculation():
    scores = 1 - np.array([[0.1, 0.4, 0.6]]) ** 2 / 2  # distances 0.1, 0.4, 0.6
    assert nearest_two_ratios(TopK(scores, np.array([[0, 1, 2]])))[0] == pytest.approx(0.25)
    assert np.isnan(nearest_two_ratios(TopK(np.ones((1, 2)), np.array([[0, 1]])))[0])  # two equal ones
