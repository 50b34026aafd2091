import numpy as np
import pytest

from deepssim.errors import DataError
from deepssim.similarity.matrices import ScoreMatrix, join_columns, read_matrix, write_matrix


@pytest.fixture
def matrix(random) -> ScoreMatrix:
    return ScoreMatrix(random.random((3, 4), dtype=np.float32), list("abc"), list("wxyz"), "ssim")


def test_a_matrix_survives_a_round_trip(tmp_path, matrix):
    write_matrix(tmp_path / "m.h5", matrix)
    again = read_matrix(tmp_path / "m.h5")
    np.testing.assert_array_equal(again.scores, matrix.scores)
    assert (again.real_keys, again.synth_keys, again.metric) == (list("abc"), list("wxyz"), "ssim")


def test_pairs_are_found_by_key(matrix):
    scores = matrix.pair_scores(["c", "a"], ["w", "z"])
    assert scores.tolist() == [matrix.scores[2, 0], matrix.scores[0, 3]]
    with pytest.raises(DataError, match="1 of 2 synthetic images are not in the score matrix, first 'q'"):
        matrix.pair_scores(["a", "b"], ["w", "q"])
    with pytest.raises(DataError, match="1 of 1 real images"):
        matrix.pair_scores(["w"], ["w"])


def test_shards_join_to_the_whole(matrix):
    parts = [
        ScoreMatrix(matrix.scores[:, s], matrix.real_keys, matrix.synth_keys[s], "ssim")
        for s in (slice(1), slice(1, 4))
    ]
    whole = join_columns(parts)
    np.testing.assert_array_equal(whole.scores, matrix.scores)
    assert whole.synth_keys == matrix.synth_keys
    foreign = ScoreMatrix(matrix.scores, list("abd"), matrix.synth_keys, "ssim")
    with pytest.raises(DataError, match="shard 1 is of other real images"):
        join_columns([matrix, foreign])


def test_bad_scores_are_named(tmp_path, matrix):
    matrix.scores[1, 2] = np.nan
    with pytest.raises(DataError, match="1 scores are not finite, first of 'b' and 'y'"):
        write_matrix(tmp_path / "m.h5", matrix)
    with pytest.raises(DataError, match="first 'x'"):
        write_matrix(tmp_path / "m.h5", ScoreMatrix(np.zeros((1, 2), np.float32), ["a"], ["x", "x"], "ssim"))


def test_a_damaged_matrix_is_named(tmp_path, matrix):
    path = tmp_path / "m.h5"
    write_matrix(path, matrix)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"m\.h5: is damaged"):
        read_matrix(path)
