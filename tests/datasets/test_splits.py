import pytest

from deepssim.datasets.splits import draw_canaries, require_subjects, split_by_subject
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


def drawn(subjects, seed=0, fraction=0.5, splits=None):
    splits = splits or [Split.TRAIN] * len(subjects)
    return draw_canaries(subjects, splits, fraction=fraction, seed=seed)


def test_about_half_of_the_canaries_are_held_out_and_nobody_else():
    subjects = [f"s{n // 2:03d}" for n in range(400)]
    given = [Split.VALID] * 40 + [Split.HOLDOUT] * 40 + [Split.TRAIN] * 320
    splits, canaries = drawn(subjects, splits=given)
    people = {name: (split, canary) for name, split, canary in zip(subjects, splits, canaries, strict=True)}
    assert len(set(zip(subjects, splits, canaries, strict=True))) == 200  # images of a subject stay together
    chosen = [split for split, canary in people.values() if canary]
    assert len(chosen) == 80  # half of the 160 training subjects
    assert 25 < chosen.count(Split.HOLDOUT) < 55
    assert set(chosen) == {Split.TRAIN, Split.HOLDOUT}
    kept = [(name, split) for name, (split, canary) in people.items() if not canary]
    assert kept == [(name, split) for name, split in zip(subjects[::2], given[::2], strict=True) if not people[name][1]]


def test_the_draw_is_of_independent_coins_and_depends_on_the_seed_only():
    subjects = [f"s{n:02d}" for n in range(40)]
    counts = [drawn(subjects, seed, 1.0)[0].count(Split.HOLDOUT) for seed in range(300)]
    assert abs(sum(counts) / 300 - 20) < 1
    assert 7 < sum((count - 20) ** 2 for count in counts) / 300 < 13  # binomial: 40 / 4; a fixed half would have 0
    there = dict(zip(subjects, drawn(subjects)[0], strict=True))
    assert [there[name] for name in subjects[::-1]] == drawn(subjects[::-1])[0]


def test_no_canaries_and_too_few():
    subjects = [f"s{n}" for n in range(20)]
    assert drawn(subjects, fraction=0.0) == ([Split.TRAIN] * 20, [False] * 20)
    with pytest.raises(
        DataError, match="dataset.canaries of 0.05 makes 1 of 20 training subjects canaries but 2 are needed"
    ):
        drawn(subjects, fraction=0.05)
    with pytest.raises(DataError, match="split 'train' has . of 3 subjects but needs 2; lower dataset.canaries"):
        [drawn(["a", "b", "c"], seed, 1.0) for seed in range(30)]
