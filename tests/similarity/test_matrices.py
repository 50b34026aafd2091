"""Score files: whole matrices and top-k lists, in shards and together, and what is said when something is wrong."""

import h5py
import numpy as np
import pytest

from deepssim.config.choices import Layout
from deepssim.config.evaluation import SimilarityConfig
from deepssim.errors import ConfigError, DataError
from deepssim.similarity import gathering, top_scores
from deepssim.similarity.gathering import gather
from deepssim.similarity.matrices import Shard, choose_layout, read_scores, write_dense, write_top
from deepssim.similarity.scores import ScoreMatrix
from deepssim.similarity.top_scores import TopScores
from tests.similarity.given import Given

REAL = [f"r{n}" for n in range(8)]
SYNTH = [f"s{n}" for n in range(50)]
TRAIN = REAL[:5]
LABELLED = (["r0", "r7", "r3"], ["s49", "s0", "s20"])
OPTIONS = SimilarityConfig(top_k=4)
SHARDS = [slice(0, 20), slice(20, 21), slice(21, 50)]


@pytest.fixture
def scores(random) -> np.ndarray:
    return random.random((8, 50), dtype=np.float32)


def dense(path, scores, columns=slice(None), shard=None, metric="ssim") -> str:
    write_dense(path, Given(scores[:, columns]), REAL, SYNTH[columns], metric, max_memory_gb=1, shard=shard)
    return str(path)


def top(path, scores, columns=slice(None), shard=None, options=OPTIONS) -> str:
    write_top(path, Given(scores[:, columns]), REAL, SYNTH[columns], "ssim", train_keys=TRAIN, labelled=LABELLED,
              options=options, seed=3, shard=shard)  # fmt: skip
    return str(path)


def contents(path) -> dict:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        return found | dict(file.attrs)


@pytest.mark.parametrize("write", [dense, top])
def test_what_is_written_is_read(tmp_path, scores, write):
    content = read_scores(write(tmp_path / "m.h5", scores))
    assert isinstance(content, ScoreMatrix if write is dense else TopScores)
    assert (content.real_keys, content.synth_keys, content.metric) == (REAL, SYNTH, "ssim")
    expected = [scores[0, 49], scores[7, 0], scores[3, 20]]
    np.testing.assert_array_equal(content.pair_scores(*LABELLED), expected)
    of_rows, of_columns = content.best(TRAIN)
    np.testing.assert_array_equal(of_rows.partners[:, 0], scores[:5].argmax(axis=1))
    np.testing.assert_array_equal(of_rows.scores[:, 0], scores[:5].max(axis=1))
    np.testing.assert_array_equal(of_columns.partners[:, 0], scores[:5].argmax(axis=0))
    np.testing.assert_array_equal(of_columns.scores[:, 0], scores[:5].max(axis=0))
    for block in content.blocks(TRAIN[::-1]):  # rows are numbered as asked for
        np.testing.assert_array_equal(block.scores, scores[4 - block.rows, block.columns])


def test_a_matrix_is_mapped_and_not_loaded(tmp_path, scores):
    content = read_scores(dense(tmp_path / "m.h5", scores))
    assert isinstance(content.scores, np.memmap)
    np.testing.assert_array_equal(content.scores, scores)


def test_a_chunked_matrix_of_others_is_read(tmp_path, scores):
    path = dense(tmp_path / "m.h5", scores)
    with h5py.File(path, "a") as file:
        del file["scores"]
        file.create_dataset("scores", data=scores.astype(np.float64), chunks=(2, 3), compression="gzip")
    np.testing.assert_array_equal(read_scores(path).scores, scores)


def test_top_lists_hold_the_best_of_all(tmp_path, scores):
    content = read_scores(top(tmp_path / "t.h5", scores))
    np.testing.assert_array_equal(content.of_rows.partners, np.argsort(-scores, axis=1)[:, :4])
    np.testing.assert_array_equal(content.of_columns.partners, np.argsort(-scores[:5], axis=0)[:4].T)
    (block,) = content.blocks(TRAIN)
    assert len(block.scores) == 5 * 50  # 32 pairs would be drawn of each column, which has 5
    with pytest.raises(DataError, match="1 of 1 pairs are not in the top-k file, first 'r7' and "):
        content.pair_scores(["r7"], [SYNTH[scores[7].argmin()]])
    with pytest.raises(DataError, match="computed for 5 training images, not these 4"):
        content.best(TRAIN[:4])


@pytest.mark.parametrize("write", [dense, top])
def test_shards_gather_to_the_same_file(tmp_path, scores, write):
    whole = write(tmp_path / "whole.h5", scores)
    shards = [write(tmp_path / f"{n}.h5", scores, part, Shard(n, 3)) for n, part in enumerate(SHARDS)]
    gather(tmp_path / "gathered.h5", shards, "ssim")
    first, second = contents(whole), contents(tmp_path / "gathered.h5")
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def test_the_size_of_blocks_changes_no_file_and_no_answer(tmp_path, random, monkeypatch):
    """Neither that of scores and pairs nor that of keys, which are compressed in chunks once they are many."""
    keys = [f"record {n:04d}___gen-{n}" for n in range(4000)]
    scores = random.random((8, 4000), dtype=np.float32)
    parts = [slice(0, 1000), slice(1000, 1001), slice(1001, 4000)]

    def write(path, part=slice(None), shard=None):
        write_top(path, Given(scores[:, part]), REAL, keys[part], "ssim", train_keys=TRAIN, labelled=([], []),
                  options=OPTIONS, seed=3, shard=shard)  # fmt: skip

    write(tmp_path / "whole.h5")
    expected = read_scores(tmp_path / "whole.h5")
    (block,) = expected.blocks(TRAIN)
    columns = block.columns[::7]
    wanted = [TRAIN[row] for row in block.rows[::7]], expected.keys_of_columns(columns)
    assert wanted[1] == [keys[column] for column in columns]
    for module in (gathering, top_scores):
        monkeypatch.setattr(module, "_BLOCK", 700)  # fewer than the pairs of a row
    monkeypatch.setattr(gathering, "_MOST_HASHES", 1000)
    for number, part in enumerate(parts):
        write(tmp_path / f"{number}.h5", part, Shard(number, 3))
    gather(tmp_path / "all.h5", [tmp_path / f"{number}.h5" for number in range(3)], "ssim")
    first, second = contents(tmp_path / "whole.h5"), contents(tmp_path / "all.h5")
    assert first.keys() == second.keys()
    assert all(np.array_equal(values, second[name]) for name, values in first.items())
    found = read_scores(tmp_path / "all.h5")
    assert found.synth_keys == keys
    np.testing.assert_array_equal(found.pair_scores(*wanted), block.scores[::7])
    blocks = list(found.blocks(TRAIN))
    assert len(blocks) > 10
    for name in ("rows", "columns", "scores"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in blocks]), getattr(block, name))
    for one, two in zip(found.best(TRAIN), expected.best(TRAIN), strict=True):
        np.testing.assert_array_equal(one.scores, two.scores)
        np.testing.assert_array_equal(one.partners, two.partners)


def test_keys_whose_hashes_are_equal_are_compared(tmp_path, scores, monkeypatch):
    shards = [dense(tmp_path / f"{n}.h5", scores, part, Shard(n, 3)) for n, part in enumerate(SHARDS)]
    monkeypatch.setattr(gathering, "_hashes", lambda keys, width: np.zeros(len(keys), np.uint64))
    gather(tmp_path / "all.h5", shards, "ssim")
    assert read_scores(tmp_path / "all.h5").synth_keys == SYNTH
    shards[1] = dense(tmp_path / "overlap.h5", scores, slice(19, 20), Shard(1, 3))
    with pytest.raises(DataError, match=r"overlap\.h5: overlaps with .*0\.h5, first in 's19'"):
        gather(tmp_path / "other.h5", shards, "ssim")


@pytest.mark.parametrize(
    ("name", "value"),
    [("pairs/codes", 400), ("pairs/codes", -1), ("of_columns/partners", 8), ("of_rows/partners", 50)],
)
def test_lists_that_refer_to_absent_images_are_refused(tmp_path, scores, name, value):
    path = top(tmp_path / "t.h5", scores)
    with h5py.File(path, "a") as file:
        file[name][(-1,) * file[name].ndim] = value
    with pytest.raises(DataError, match=r"t\.h5: its lists refer to images that it lacks"):
        read_scores(path)


def test_shards_that_do_not_fit_are_named(tmp_path, scores):
    one, two, three = (dense(tmp_path / f"{n}.h5", scores, part, Shard(n, 3)) for n, part in enumerate(SHARDS))
    out = tmp_path / "out.h5"
    with pytest.raises(DataError, match=r"0\.h5: shard 1 of 3 is missing among the 2 files"):
        gather(out, [one, three], "ssim")
    with pytest.raises(DataError, match="a shard occurs twice among the 4 files"):
        gather(out, [one, two, three, two], "ssim")
    overlapping = dense(tmp_path / "overlap.h5", scores, slice(19, 22), Shard(1, 3))
    with pytest.raises(DataError, match=r"overlap\.h5: overlaps with .*0\.h5, first in 's19'"):
        gather(out, [one, overlapping, three], "ssim")
    with pytest.raises(DataError, match=r"0\.h5: holds scores of ssim, not deepssim"):
        gather(out, [one, two, three], "deepssim")
    other_kind = top(tmp_path / "kind.h5", scores, SHARDS[1], Shard(1, 3))
    with pytest.raises(DataError, match=r"kind\.h5: has other real images or another layout"):
        gather(out, [one, other_kind, three], "ssim")
    assert not out.exists()


@pytest.mark.parametrize("write", [dense, top])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_named(tmp_path, scores, bad, write):
    scores[6, 31] = bad
    with pytest.raises(DataError, match="1 scores are not finite, first of 'r6' and 's31'"):
        write(tmp_path / "m.h5", scores)
    assert not list(tmp_path.iterdir())


def test_keys_that_do_not_match_are_named(tmp_path, scores):
    content = read_scores(dense(tmp_path / "m.h5", scores))
    with pytest.raises(DataError, match="1 of 2 synthetic images are not among the scores, first 'q'"):
        content.pair_scores(["r0", "r1"], ["s0", "q"])
    with pytest.raises(DataError, match="1 of 1 real images are not among the scores, first 's0'"):
        content.pair_scores(["s0"], ["s0"])
    with pytest.raises(DataError, match="first 's0'"):
        write_dense(tmp_path / "x.h5", Given(scores[:, :2]), REAL, ["s0", "s0"], "ssim", max_memory_gb=1)


@pytest.mark.parametrize("left", [100, 900, 2500])
def test_a_truncated_file_is_named(tmp_path, scores, left):
    path = tmp_path / "m.h5"
    dense(path, scores)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=r"m\.h5: is damaged or not HDF5"):
        read_scores(path)


def test_a_file_of_another_kind_is_named(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name in ("real_keys", "synth_keys"):
            file[name] = np.zeros(2)
    with pytest.raises(DataError, match="holds neither a score matrix nor top-k lists"):
        read_scores(tmp_path / "x.h5")


def test_the_layout_follows_the_size():
    assert choose_layout(10, 20, SimilarityConfig(dense_limit=200)) is Layout.DENSE
    assert choose_layout(10, 21, SimilarityConfig(dense_limit=200)) is Layout.TOP_K
    assert choose_layout(1, 1, SimilarityConfig(layout=Layout.TOP_K)) is Layout.TOP_K
    with pytest.raises(
        ConfigError, match=r"10 x 21 = 210 scores exceeds similarity.dense_limit 200; set similarity.layout"
    ):
        choose_layout(10, 21, SimilarityConfig(layout=Layout.DENSE, dense_limit=200))
