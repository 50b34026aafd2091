"""Products are right, and the same to the last bit in any part, for pairs alone and in lists of the best."""

import numpy as np
import pytest

from deepssim.similarity.instructions import COLUMNS, ROWS
from deepssim.similarity.products import Panels, enter_products, multiply, multiply_pairs
from deepssim.similarity.topk import TopK


def panels(vectors: np.ndarray, width: int) -> Panels:
    found = Panels.empty(*vectors.shape, width)
    found.values[:] = 0
    for number, vector in enumerate(vectors):
        found.values[number // width, :, number % width] = vector
    return found


def product(rows, columns, threads=1) -> np.ndarray:
    out = np.empty((len(rows), len(columns)), np.float32)
    multiply(panels(rows, ROWS), panels(columns, COLUMNS), out, threads)
    return out


@pytest.fixture
def vectors(random) -> tuple[np.ndarray, np.ndarray]:
    """Of length 1, with repetitions, so that many products are equal."""
    rows, columns = random.normal(size=(97, 40)), random.normal(size=(COLUMNS * 3 + 5, 40))
    rows[50:70] = rows[random.integers(0, 50, 20)]
    return tuple((side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in (rows, columns))


@pytest.mark.parametrize("features", [1, 2, 40])
def test_agrees_with_numpy_in_float64(vectors, features):
    rows, columns = (side[:, :features] for side in vectors)
    expected = rows.astype(float) @ columns.T
    # Every one of the additions rounds to half a unit of the last of 24 bits.
    np.testing.assert_allclose(product(rows, columns), expected, rtol=0, atol=features * 2.0**-24)


def test_only_its_own_place_is_written(vectors):
    """Wherever a part of a matrix begins: values are stored one by one up to the next aligned place."""
    rows, columns = vectors
    whole = product(rows, columns)
    for left in range(17):
        for right in (left, left + 1, left + 20, len(columns)):
            memory = np.full((len(rows) + 2, len(columns) + 2), 7, np.float32)
            multiply(panels(rows, ROWS), panels(columns[left:right], COLUMNS), memory[1:-1, 1 + left : 1 + right], 2)
            np.testing.assert_array_equal(memory[1:-1, 1 + left : 1 + right], whole[:, left:right])
            memory[1:-1, 1 + left : 1 + right] = 7
            assert (memory == 7).all()


def test_pairs_are_those_of_the_matrix(vectors, random):
    rows, columns = vectors
    row_of, column_of = random.integers(0, len(rows), 300), random.integers(0, len(columns), 300)
    found = multiply_pairs(panels(rows, ROWS), panels(columns, COLUMNS), row_of, column_of)
    np.testing.assert_array_equal(found, product(rows, columns)[row_of, column_of])


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_the_best_are_those_of_the_matrix(vectors, threads):
    rows, columns = vectors
    scores = product(rows, columns)
    order = np.argsort(-scores, axis=0, kind="stable")[:9].T
    best = TopK.empty(len(columns), 9)
    for first, stop in ((0, 31), (31, 32), (32, len(rows))):  # rows in several calls
        enter_products(panels(rows[first:stop], ROWS), panels(columns, COLUMNS), first, best, threads)
    np.testing.assert_array_equal(best.partners, order)
    np.testing.assert_array_equal(best.scores, np.take_along_axis(scores.T, order, axis=1))
