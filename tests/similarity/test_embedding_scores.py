import numpy as np
import pytest
import torch

from deepssim.errors import DataError
from deepssim.similarity.embedding_scores import EmbeddingComparison, EmbeddingSimilarity
from deepssim.similarity.embeddings import Embeddings, read_embeddings, write_embeddings
from deepssim.similarity.tiles import GIGABYTE, all_scores, pair_scores, tile_shape
from deepssim.similarity.topk import top_k


def embeddings(rows, checksum="c" * 64, source="") -> Embeddings:
    return Embeddings(np.array(rows, np.float32), [f"k{n}" for n in range(len(rows))], "deepssim", checksum, source)


def compare(real, synthetic, **options) -> np.ndarray:
    return all_scores(EmbeddingComparison(real, synthetic, **options))


def test_cosine_matches_hand_calculation():
    scores = compare(embeddings([[3, 4]]), embeddings([[4, 3], [-3, -4], [4, -3]]))
    np.testing.assert_allclose(scores, [[24 / 25, -1, 0]], atol=1e-6)  # (3*4 + 4*3) / (5*5); opposite; orthogonal
    assert scores.dtype == np.float32


def test_pearson_agrees_with_numpy(random):
    real, synthetic = random.normal(size=(7, 16)) + 5, random.normal(size=(9, 16)) - 3
    expected = np.corrcoef(real, synthetic)[:7, 7:]
    scores = compare(embeddings(real), embeddings(synthetic), similarity=EmbeddingSimilarity.PEARSON)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


def test_swapping_transposes(random):
    a, b = embeddings(random.normal(size=(4, 8))), embeddings(random.normal(size=(5, 8)))
    np.testing.assert_allclose(compare(a, b), compare(b, a).T, atol=1e-6)
    np.testing.assert_allclose(np.diag(compare(a, a)), 1, atol=1e-6)


@pytest.mark.parametrize("similarity", EmbeddingSimilarity)
def test_tiles_shards_and_threads_change_no_bit(random, similarity):
    real, synthetic = embeddings(random.normal(size=(700, 101))), embeddings(random.normal(size=(1500, 101)))
    whole = compare(real, synthetic, similarity=similarity)
    np.testing.assert_array_equal(compare(real, synthetic, similarity=similarity, threads=2), whole)
    comparison = EmbeddingComparison(real, synthetic, similarity=similarity, threads=2)
    # Beside the program and the embeddings there is memory for tiles of some hundred rows and columns.
    small = 0.45 + comparison.bytes_held / GIGABYTE + 0.001
    assert tile_shape(comparison, small) < (700, 1500)
    np.testing.assert_array_equal(all_scores(comparison, max_memory_gb=small), whole)
    for rows, columns in (
        (slice(0, 1), slice(0, 1)),
        (slice(37, 650), slice(1023, 1025)),
        (slice(511, 700), slice(3, 1500)),
    ):
        shard = embeddings(real.values[rows]), embeddings(synthetic.values[columns])
        np.testing.assert_array_equal(compare(*shard, similarity=similarity), whole[rows, columns])


@pytest.mark.parametrize("similarity", EmbeddingSimilarity)
def test_pairs_score_as_in_the_matrix(random, similarity):
    real, synthetic = embeddings(random.normal(size=(20, 65))), embeddings(random.normal(size=(30, 65)))
    rows, columns = random.integers(0, 20, 100), random.integers(0, 30, 100)
    expected = compare(real, synthetic, similarity=similarity)[rows, columns]
    for threads in (1, 2):
        comparison = EmbeddingComparison(real, synthetic, similarity=similarity, threads=threads)
        np.testing.assert_array_equal(pair_scores(comparison, rows, columns), expected)


def test_the_best_are_those_of_the_matrix_in_any_tiles(random):
    """Columns alone are searched without a matrix, rows and columns in tiles of it."""
    real, synthetic = embeddings(random.normal(size=(300, 33))), embeddings(random.normal(size=(500, 33)))
    real.values[100:200] = real.values[:100]  # ties
    expected = compare(real, synthetic)
    order = np.argsort(-expected, axis=0, kind="stable")[:7].T
    # 0.4505 GB leave room for 64 columns at a time.
    for options in ({"rows": False}, {"rows": False, "threads": 2, "max_memory_gb": 0.4505}, {"threads": 2}):
        _, best = top_k(EmbeddingComparison(real, synthetic, threads=2), 7, **options)
        np.testing.assert_array_equal(best.partners, order)
        np.testing.assert_array_equal(best.scores, np.take_along_axis(expected.T, order, axis=1))


def test_comparing_leaves_the_number_of_threads_alone(random):
    before = torch.get_num_threads()
    compare(embeddings(random.normal(size=(2, 4))), embeddings(random.normal(size=(2, 4))), threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("bad", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_a_row_without_direction_is_named(bad):
    with pytest.raises(DataError, match="e.h5: 1 of 2 embeddings are zero or not finite, first that of 'k1'"):
        compare(embeddings([[1, 1]]), embeddings([[1, 0], bad], source="e.h5"))


def test_a_constant_embedding_has_no_correlation():
    with pytest.raises(DataError, match="1 of 2 embeddings are constant or not finite, first that of 'k1'"):
        compare(
            embeddings([[1, 2, 3]]), embeddings([[1, 0, 0], [0.1, 0.1, 0.1]]), similarity=EmbeddingSimilarity.PEARSON
        )


def test_encoders_are_not_mixed():
    with pytest.raises(DataError, match="embed both with the same weights"):
        EmbeddingComparison(embeddings([[1, 1]]), embeddings([[1, 1]], checksum="d" * 64))


def test_embeddings_survive_a_round_trip(tmp_path, random):
    first = embeddings(random.normal(size=(3, 4)))
    write_embeddings(tmp_path / "e.h5", first)
    again = read_embeddings(tmp_path / "e.h5")
    np.testing.assert_array_equal(again.values, first.values)
    assert (again.keys, again.encoder, again.checksum) == (first.keys, first.encoder, first.checksum)
    assert again.source == str(tmp_path / "e.h5")
