import numpy as np
import pytest

from deepssim.encoders.embeddings import Embeddings, read_embeddings, write_embeddings
from deepssim.errors import DataError
from deepssim.similarity.embedding_scores import cosine_matrix


def embeddings(rows, checksum="c" * 64) -> Embeddings:
    return Embeddings(np.array(rows, np.float32), [f"k{n}" for n in range(len(rows))], "deepssim", checksum)


def test_cosine_matches_hand_calculation():
    scores = cosine_matrix(embeddings([[3, 4]]), embeddings([[4, 3], [-3, -4], [4, -3]]))
    np.testing.assert_allclose(scores, [[24 / 25, -1, 0]], atol=1e-6)  # (3*4 + 4*3) / (5*5); opposite; orthogonal
    assert scores.dtype == np.float32


def test_swapping_transposes(random):
    a, b = embeddings(random.normal(size=(4, 8))), embeddings(random.normal(size=(5, 8)))
    np.testing.assert_allclose(cosine_matrix(a, b), cosine_matrix(b, a).T, atol=1e-6)
    np.testing.assert_allclose(np.diag(cosine_matrix(a, a)), 1, atol=1e-6)


@pytest.mark.parametrize("bad", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_a_row_without_direction_is_named(bad):
    with pytest.raises(DataError, match="1 of 2 embeddings are zero or not finite, first that of 'k1'"):
        cosine_matrix(embeddings([[1, 1]]), embeddings([[1, 0], bad]))


def test_encoders_are_not_mixed():
    with pytest.raises(DataError, match="embed both with the same weights"):
        cosine_matrix(embeddings([[1, 1]]), embeddings([[1, 1]], checksum="d" * 64))


def test_embeddings_survive_a_round_trip(tmp_path, random):
    first = embeddings(random.normal(size=(3, 4)))
    write_embeddings(tmp_path / "e.h5", first)
    again = read_embeddings(tmp_path / "e.h5")
    np.testing.assert_array_equal(again.values, first.values)
    assert (again.keys, again.encoder, again.checksum) == (first.keys, first.encoder, first.checksum)
