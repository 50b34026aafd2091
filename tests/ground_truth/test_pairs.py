import numpy as np
import pytest

from deepssim.config.evaluation import PairsConfig, SimilarityConfig
from deepssim.datasets.tables import write_csv
from deepssim.ground_truth.labels import Label
from deepssim.ground_truth.pairs import PAIR_SPLITS, sample_pairs
from deepssim.ground_truth.tables import read_pairs
from deepssim.similarity import top_scores
from deepssim.similarity.matrices import read_scores, write_top
from deepssim.similarity.scores import ScoreMatrix
from deepssim.similarity.top_scores import TopScores
from tests.similarity.given import Given

SUBJECTS = 12
OPTIONS = PairsConfig(valid_fraction=0.2, test_fraction=0.4, train_per_class=50, valid_per_class=10, test_per_class=20)


def matrix_of(scores, real, synth) -> ScoreMatrix:
    return ScoreMatrix(real, synth, "ssim", scores)


@pytest.fixture
def world(random):
    """24 real images of 12 subjects; each has 5 synthetic ones, at 0.95, 0.9, 0.7, 0.59 and 0.3 to their source."""
    real = [f"r{n}___training" for n in range(2 * SUBJECTS)]
    synth = [f"r{n}___gen-{i}" for n in range(2 * SUBJECTS) for i in range(5)]
    scores = random.uniform(0.1, 0.29, (len(real), len(synth))).astype(np.float32)
    for n in range(len(real)):
        scores[n, 5 * n : 5 * n + 5] = [0.95, 0.9, 0.7, 0.59, 0.3]
    return scores, real, synth, [f"s{n // 2}" for n in range(len(real))]


def test_sides_share_no_subject_and_no_image(world):
    scores, real, synth, subjects = world
    sampled = sample_pairs(matrix_of(scores, real, synth), real, subjects, OPTIONS, seed=0)
    subject_of = dict(zip(real, subjects, strict=True))
    tables = (sampled.train, sampled.valid, sampled.test)
    for column, name in (("real_key", subject_of.get), ("real_key", str), ("synth_key", str)):
        sets = [{name(key) for key in table[column]} for table in tables]
        assert not (sets[0] & sets[1])
        assert not (sets[0] & sets[2])
        assert not (sets[1] & sets[2])
    # a copy of a test patient is that patient: it never trains
    test_records = {key.split("___")[0] for key in sampled.test["real_key"]}
    assert not test_records & {key.split("___")[0] for key in sampled.train["synth_key"]}


def test_classes_and_scores_are_right_and_even(world):
    scores, real, synth, subjects = world
    sampled = sample_pairs(matrix_of(scores, real, synth), real, subjects, OPTIONS, seed=0)
    row, column = ({key: n for n, key in enumerate(keys)} for keys in (real, synth))
    for table in (sampled.train, sampled.valid, sampled.test):
        expected = [scores[row[r], column[s]] for r, s in zip(table["real_key"], table["synth_key"], strict=True)]
        np.testing.assert_array_equal(table["ssim"].astype(np.float32), expected)
        assert not table.duplicated(["real_key", "synth_key"]).any()
    ssim, label = sampled.test["ssim"], sampled.test["label"]
    assert ((label == Label.DUPLICATE) == (ssim > 0.85)).all()
    assert ((label == Label.DIFFERENT) == (ssim <= 0.60)).all()
    # 5 of 12 subjects, 2 images each: 20 duplicates, 10 similar, and as many of the many others as allowed
    assert label.value_counts().to_dict() == {Label.DIFFERENT: 20, Label.DUPLICATE: 20, Label.SIMILAR: 10}
    assert list(sampled.train.columns) == ["real_key", "synth_key", "ssim", "split"]


def test_copied_subjects_are_shared_out(world):
    scores, real, synth, subjects = world
    scores = scores.copy()
    scores[:16] = np.minimum(scores[:16], 0.8)  # only the last four subjects were copied
    sampled = sample_pairs(matrix_of(scores, real, synth), real, subjects, OPTIONS, seed=0)
    assert (sampled.test["label"] == Label.DUPLICATE).sum() >= 4
    assert (sampled.train["ssim"] > 0.85).sum() >= 4


def test_the_seed_decides(world):
    scores, real, synth, subjects = world
    first, again, other = (
        sample_pairs(matrix_of(scores, real, synth), real, subjects, OPTIONS, seed=seed).test for seed in (0, 0, 1)
    )
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("highest", "missing"), [(0.84, [Label.DUPLICATE]), (0.5, [Label.DUPLICATE, Label.SIMILAR]), (1.0, [])]
)
def test_a_missing_class_is_named_and_the_others_are_sampled(world, highest, missing):
    scores, real, synth, subjects = world
    sampled = sample_pairs(matrix_of(np.minimum(scores, highest), real, synth), real, subjects, OPTIONS, seed=0)
    assert sampled.missing == dict.fromkeys(PAIR_SPLITS, missing)
    assert set(sampled.test["label"]) == set(Label) - set(missing)
    assert len(sampled.train) > 0
    assert sampled.train["ssim"].max() <= highest


def test_a_generator_that_repeats_one_image_leaves_sets_without_pairs(world):
    """All synthetic images resemble the same training image most, so they belong to the set of its subject."""
    scores, real, synth, subjects = world
    scores = np.full_like(scores, 0.2)
    scores[0] = 0.9
    sampled = sample_pairs(matrix_of(scores, real, synth), real, subjects, OPTIONS, seed=0)
    home = sampled.split_of_subject[subjects[0]]
    tables = {"train": sampled.train, "valid": sampled.valid, "test": sampled.test}
    assert [name for name, table in tables.items() if len(table)] == [home.value]
    assert sampled.missing[home] == [Label.SIMILAR]
    assert all(sampled.missing[split] == list(Label) for split in PAIR_SPLITS if split is not home)


def test_an_empty_set_is_written_and_read(world, tmp_path):
    scores, real, synth, _ = world
    sampled = sample_pairs(matrix_of(scores[:2], real[:2], synth), real[:2], ["a", "b"], OPTIONS, seed=0)
    assert sampled.valid.empty
    write_csv(tmp_path / "valid.csv", sampled.valid)
    assert read_pairs(tmp_path / "valid.csv").empty


@pytest.mark.parametrize(("subjects", "expected"), [(["a", "a"], ["test"]), (["a", "b"], ["test", "train"])])
def test_of_few_subjects_the_first_are_tested(world, subjects, expected):
    scores, real, synth, _ = world
    sampled = sample_pairs(matrix_of(scores[:2], real[:2], synth), real[:2], subjects, OPTIONS, seed=0)
    assert sorted(split.value for split in sampled.split_of_subject.values()) == expected
    assert len(sampled.test) > 0


def test_three_subjects_are_enough(world):
    scores, real, synth, _ = world
    sampled = sample_pairs(matrix_of(scores[:6], real[:6], synth), real[:6], list("aabbcc"), OPTIONS, seed=0)
    assert all(len(table) for table in (sampled.train, sampled.valid, sampled.test))


def test_a_sample_depends_on_the_scores_and_not_on_how_they_are_kept(world, tmp_path):
    """Of top-k lists: the same rules, and all pairs sampled are among those that the file holds."""
    scores, real, synth, subjects = world
    whole = matrix_of(scores, real, synth)
    sampled = sample_pairs(top_of(whole, tmp_path), real, subjects, OPTIONS, seed=0)
    for table in (sampled.train, sampled.valid, sampled.test):
        np.testing.assert_array_equal(
            table["ssim"], whole.pair_scores(table["real_key"].tolist(), table["synth_key"].tolist())
        )
    assert sampled.test["label"].value_counts().to_dict() == {
        Label.DIFFERENT: 20, Label.DUPLICATE: 20, Label.SIMILAR: 10
    }  # fmt: skip


def test_a_sample_does_not_depend_on_the_size_of_blocks(world, tmp_path, monkeypatch):
    scores, real, synth, subjects = world
    few = OPTIONS.with_changes(train_per_class=9, valid_per_class=2, test_per_class=3)
    lists = top_of(matrix_of(scores, real, synth), tmp_path)
    whole = sample_pairs(lists, real, subjects, few, seed=0)
    monkeypatch.setattr(top_scores, "_BLOCK", 100)
    parts = sample_pairs(read_scores(tmp_path / "top.h5"), real, subjects, few, seed=0)
    for name in ("train", "valid", "test"):
        assert getattr(whole, name).equals(getattr(parts, name))


def top_of(matrix: ScoreMatrix, folder) -> TopScores:
    write_top(
        folder / "top.h5", Given(matrix.scores), matrix.real_keys, matrix.synth_keys, "ssim",
        train_keys=matrix.real_keys, labelled=([], []), options=SimilarityConfig(top_k=3), seed=0,
    )  # fmt: skip
    found = read_scores(folder / "top.h5")
    assert isinstance(found, TopScores)
    return found
