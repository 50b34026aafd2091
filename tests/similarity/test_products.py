"""Products agree with NumPy, and are the same to the last bit in any part of a matrix, for pairs and in top-k lists."""

import numpy as np
import pytest

from deepssim.similarity.lanes import LANES, in_lanes, numba_threads
from deepssim.similarity.products import VectorBlocks, enter_products, multiply, multiply_pairs
from deepssim.similarity.topk import TopK


def blocks(vectors: np.ndarray) -> VectorBlocks:
    return VectorBlocks(in_lanes(vectors), len(vectors))


def product(rows, columns, threads=1) -> np.ndarray:
    out = np.empty((len(rows), len(columns)), np.float32)
    with numba_threads(threads):
        multiply(blocks(rows), blocks(columns), out)
    return out


@pytest.fixture
def vectors(random) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors, more than a block on both sides, with repetitions, so that many products are equal."""
    rows, columns = random.normal(size=(97, 42)), random.normal(size=(3 * LANES + 5, 42))
    rows[50:70] = rows[random.integers(0, 50, 20)]
    return tuple((side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in (rows, columns))


@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 42])
def test_agrees_with_numpy_in_float64(vectors, features):
    rows, columns = (side[:, :features] for side in vectors)
    expected = rows.astype(float) @ columns.T
    # Every addition rounds to half a unit in the last of 24 bits.
    np.testing.assert_allclose(product(rows, columns), expected, rtol=0, atol=features * 2.0**-24)


def test_features_are_added_in_order(random):
    """Products of 12-bit integers are exact in float32, so only the order of the additions matters."""
    rows, columns = (random.integers(-2047, 2048, (count, 43)).astype(np.float32) / 2**14 for count in (70, 130))
    expected = np.zeros((70, 130), np.float32)
    for feature in range(43):
        expected += rows[:, feature, None] * columns[:, feature]
    assert np.abs(expected).max() < 1
    np.testing.assert_array_equal(product(rows, columns), expected)
    assert (product(rows[:, ::-1], columns[:, ::-1]) != expected).any()  # another order rounds differently


def test_values_are_clipped(random):
    rows, columns = (random.normal(size=(count, 8)).astype(np.float32) for count in (10, 20))
    exact = rows.astype(float) @ columns.T
    assert (np.abs(exact) > 1).any()
    np.testing.assert_allclose(product(rows, columns), np.clip(exact, -1, 1), rtol=0, atol=1e-5)
    row_of, column_of = (places.ravel() for places in np.indices(exact.shape))
    pairs = multiply_pairs(blocks(rows), blocks(columns), row_of, column_of)
    np.testing.assert_array_equal(pairs.reshape(exact.shape), product(rows, columns))


def test_the_position_changes_no_bit(vectors, random):
    rows, columns = vectors
    whole = product(rows, columns)
    row_order, column_order = random.permutation(len(rows)), random.permutation(len(columns))
    permuted = product(rows[row_order], columns[column_order], threads=2)
    np.testing.assert_array_equal(permuted, whole[row_order][:, column_order])


def test_only_its_own_part_is_written(vectors):
    """The part of a matrix may begin and end at any column."""
    rows, columns = vectors
    whole = product(rows, columns)
    for left in range(17):
        for right in (left, left + 1, left + 20, len(columns)):
            memory = np.full((len(rows) + 2, len(columns) + 2), 7, np.float32)
            part = (
                blocks(columns[left:right]) if right > left else VectorBlocks(np.empty((0, 42, LANES), np.float32), 0)
            )
            multiply(blocks(rows), part, memory[1:-1, 1 + left : 1 + right])
            np.testing.assert_array_equal(memory[1:-1, 1 + left : 1 + right], whole[:, left:right])
            memory[1:-1, 1 + left : 1 + right] = 7
            assert (memory == 7).all()


@pytest.mark.parametrize("features", [1, 4, 42])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [1, 63, 300])
def test_pairs_equal_the_matrix(vectors, random, features, threads, count):
    rows, columns = (side[:, :features] for side in vectors)
    row_of, column_of = random.integers(0, len(rows), count), random.integers(0, len(columns), count)
    with numba_threads(threads):
        found = multiply_pairs(blocks(rows), blocks(columns), row_of, column_of)
    np.testing.assert_array_equal(found, product(rows, columns)[row_of, column_of])


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_top_k_lists_equal_those_of_the_matrix(vectors, threads):
    rows, columns = vectors
    scores = product(rows, columns)
    order = np.argsort(-scores, axis=0, kind="stable")[:9].T
    best = TopK.empty(len(columns), 9)
    with numba_threads(threads):
        for first, stop in ((0, 31), (31, 32), (32, len(rows))):  # rows in several calls
            enter_products(blocks(rows[first:stop]), blocks(columns), first, best)
    np.testing.assert_array_equal(best.partners, order)
    np.testing.assert_array_equal(best.scores, np.take_along_axis(scores.T, order, axis=1))
