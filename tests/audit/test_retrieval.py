import numpy as np
import pytest

from deepssim.audit.retrieval import (
    distances,
    find_neighbours,
    nearest_two_ratios,
    neighbourhood_ratios,
    of_other_subjects,
)
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.topk import TopK


def embeddings(values, prefix):
    return Embeddings(np.asarray(values, np.float32), [f"{prefix}{n}" for n in range(len(values))], "x", "y")


@pytest.fixture
def sides(random):
    return [embeddings(random.normal(size=(count, 8)), name) for count, name in ((20, "t"), (30, "s"), (12, "h"))]


def test_lists_agree_with_sorting_all_cosines(sides):
    train, synthetic, holdout = sides
    subjects = [f"p{n // 2}" for n in range(20)]
    found = find_neighbours(train, synthetic, holdout, subjects, k=5)
    unit = [side.values / np.linalg.norm(side.values, axis=1, keepdims=True) for side in sides]
    for best, rows, columns in (
        (found.synthetic, 1, 0), (found.train, 0, 1), (found.holdout, 2, 0),
        (found.holdout_synthetic, 2, 1), (found.synthetic_holdout, 1, 2),
    ):  # fmt: skip
        expected = unit[rows] @ unit[columns].T
        np.testing.assert_array_equal(best.partners, np.argsort(-expected, axis=1)[:, :5])
        np.testing.assert_allclose(best.scores, -np.sort(-expected, axis=1)[:, :5], atol=1e-6)
    own = np.arange(20) // 2
    expected = np.where(own[:, None] == own, -2, unit[0] @ unit[0].T)
    np.testing.assert_array_equal(found.train_others.partners, np.argsort(-expected, axis=1)[:, :5])


def test_one_image_on_each_side_is_enough(sides):
    train, synthetic = (Embeddings(side.values[:1], side.keys[:1], "x", "y") for side in sides[:2])
    found = find_neighbours(train, synthetic, None, ["p"], k=50)
    assert found.synthetic.scores.shape == (1, 1)
    assert found.train_others.scores.shape == (1, 0)
    assert found.holdout is None
    assert np.isnan(neighbourhood_ratios(found.synthetic, ["p"])).all()
    assert np.isnan(nearest_two_ratios(found.synthetic)).all()


def test_lists_are_as_long_as_the_shortest():
    best = TopK(np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.7]], np.float32), np.array([[0, 1, 2], [1, 0, 2]]))
    others = of_other_subjects(best, ["a", "c"], ["a", "b", "c"], 3)
    assert others.partners.tolist() == [[1, 2], [1, 0]]
    np.testing.assert_allclose(others.scores, [[0.8, 0.7], [0.9, 0.8]])


def test_distances_are_those_of_unit_vectors(random):
    first, second = (row / np.linalg.norm(row) for row in random.normal(size=(2, 6)))
    assert distances(np.array([first @ second]))[0] == pytest.approx(np.linalg.norm(first - second))
    assert distances(np.array([1.0000001]))[0] == 0


def test_ratios_match_a_hand_calculation():
    scores = 1 - np.array([[0.1, 0.4, 0.6]]) ** 2 / 2  # distances 0.1, 0.4, 0.6
    best = TopK(scores, np.array([[0, 1, 2]]))
    assert neighbourhood_ratios(best, ["a", "b", "c"])[0] == pytest.approx(0.1 / (0.5 * 0.5))
    assert neighbourhood_ratios(best, ["a", "a", "c"])[0] == pytest.approx(
        0.1 / (0.5 * 0.6)
    )  # a second image of patient a
    assert np.isnan(neighbourhood_ratios(best, ["a", "a", "a"])[0])
    assert nearest_two_ratios(best)[0] == pytest.approx(0.25)
