import pytest

from deepssim.datasets.splits import require_subjects, split_by_subject
from deepssim.datasets.tables import Split
from deepssim.errors import DataError


def test_subjects_stay_together_in_the_asked_shares():
    subjects = [f"s{n // 3}" for n in range(60)]
    splits = split_by_subject(subjects, valid_fraction=0.2, holdout_fraction=0.1, seed=0)
    of = {subject: {split for s, split in zip(subjects, splits, strict=True) if s == subject} for subject in subjects}
    assert all(len(found) == 1 for found in of.values())
    counts = [sum(found == {split} for found in of.values()) for split in (Split.TRAIN, Split.VALID, Split.HOLDOUT)]
    assert counts == [14, 4, 2]


def test_the_order_of_images_does_not_matter():
    subjects = [f"s{n}" for n in range(20)]
    there = dict(
        zip(subjects, split_by_subject(subjects, valid_fraction=0.2, holdout_fraction=0.2, seed=1), strict=True)
    )
    back = split_by_subject(subjects[::-1], valid_fraction=0.2, holdout_fraction=0.2, seed=1)
    assert [there[subject] for subject in subjects[::-1]] == back
    assert split_by_subject(subjects, valid_fraction=0.2, holdout_fraction=0.2, seed=2) != list(there.values())


def test_fewer_than_two_subjects_in_a_split_is_refused():
    with pytest.raises(
        DataError, match="split 'valid' has 1 of 10 subjects but needs 2; add subjects or change dataset.valid_fraction"
    ):
        split_by_subject([f"s{n}" for n in range(10)], valid_fraction=0.1, holdout_fraction=0, seed=0)
    with pytest.raises(DataError, match="split 'train' has 1 of 1 subjects"):
        split_by_subject(["a", "a"], valid_fraction=0, holdout_fraction=0, seed=0)


def test_a_split_that_is_not_asked_for_may_be_empty():
    assert set(split_by_subject(["a", "b", "c"], valid_fraction=0, holdout_fraction=0, seed=0)) == {Split.TRAIN}


def test_a_subject_on_both_sides_is_refused():
    with pytest.raises(DataError, match="x.csv: 1 of 2 subjects are in more than one split, first 'a'"):
        require_subjects(
            ["a", "b", "a"],
            [Split.TRAIN, Split.TRAIN, Split.VALID],
            [Split.TRAIN],
            source="x.csv",
            advice="add subjects",
        )
