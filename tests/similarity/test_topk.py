"""The best partners are those that sorting the whole matrix gives, in any tiles and shards."""

import numpy as np
import pytest

from deepssim.errors import ConfigError, DataError
from deepssim.similarity import tiles
from deepssim.similarity.tiles import Tile, all_scores, pair_scores, score_tiles, tile_shape
from deepssim.similarity.topk import TopK, merge, top_k, update_columns, update_rows
from tests.similarity.given import Given


@pytest.fixture
def scores(random) -> np.ndarray:
    """Few distinct values, so that there are many ties."""
    return (random.integers(0, 12, (37, 203)) / 12).astype(np.float32)


def by_sorting(scores: np.ndarray, k: int) -> TopK:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return TopK(np.take_along_axis(scores, order, axis=1), order)


def assert_same(found: TopK, expected: TopK) -> None:
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.partners, expected.partners)


def in_tiles(scores: np.ndarray, rows: int, columns: int):
    for left in range(0, scores.shape[1], columns):
        for top in range(0, len(scores), rows):
            yield Tile(top, left, np.ascontiguousarray(scores[top : top + rows, left : left + columns]))


@pytest.mark.parametrize("k", [1, 4, 1000])
def test_agrees_with_sorting(scores, k):
    rows, columns = top_k(Given(scores), k, threads=2)
    assert_same(rows, by_sorting(scores, k))
    assert_same(columns, by_sorting(scores.T, k))


@pytest.mark.parametrize("shape", [(1, 203), (37, 1), (5, 64), (36, 202)])
def test_tiles_change_nothing(scores, shape):
    rows, columns = TopK.empty(37, 6), TopK.empty(203, 6)
    for tile in in_tiles(scores, *shape):
        update_rows(rows, tile)
        update_columns(columns, tile, threads=2)
    assert_same(rows, by_sorting(scores, 6))
    assert_same(columns, by_sorting(scores.T, 6))


def test_shards_merge_to_the_whole(scores):
    parts = []
    for start, stop in ((0, 50), (50, 53), (53, 203)):
        best, _ = top_k(Given(scores[:, start:stop]), 6, columns=False)
        parts.append(TopK(best.scores, best.partners + start))
    assert_same(merge(parts, 6), by_sorting(scores, 6))
    with pytest.raises(DataError, match="different numbers of items"):
        merge([TopK.empty(3, 2), TopK.empty(4, 2)], 2)


def test_one_side_is_enough(scores):
    rows, columns = top_k(Given(scores), 2, columns=False)
    assert columns is None
    assert_same(rows, by_sorting(scores, 2))


@pytest.mark.parametrize("gigabytes", [0.4502, 0.46, 4.0])
def test_memory_decides_the_tiles_and_nothing_else(scores, gigabytes):
    comparison = Given(scores, bytes_per_item=1000)
    covered = np.zeros(scores.shape, int)
    for tile in score_tiles(comparison, max_memory_gb=gigabytes):
        covered[tile.place] += 1
        assert tile.scores.shape <= tile_shape(comparison, gigabytes)
    assert (covered == 1).all()
    np.testing.assert_array_equal(all_scores(comparison, max_memory_gb=gigabytes), scores)


def test_too_little_memory_is_said(scores):
    with pytest.raises(
        ConfigError, match=r"max_memory_gb 0.45 is too little for items of 1,000,000 bytes; set it to 0.65"
    ):
        list(score_tiles(Given(scores, bytes_per_item=1_000_000), max_memory_gb=0.45))


def test_pairs_need_no_matrix(scores, random, monkeypatch):
    rows, columns = random.integers(0, 37, 500), random.integers(0, 203, 500)
    expected = scores[rows, columns]
    np.testing.assert_array_equal(pair_scores(Given(scores), rows, columns), expected)
    monkeypatch.setattr(tiles, "tile_shape", lambda *arguments: (3, 4))  # then many chunks are needed
    np.testing.assert_array_equal(pair_scores(Given(scores), rows, columns), expected)


def test_nothing_to_compare_is_no_score():
    assert all_scores(Given(np.zeros((0, 5)))).shape == (0, 5)
    assert all_scores(Given(np.zeros((5, 0)))).shape == (5, 0)
