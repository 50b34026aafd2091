import numpy as np

from deepssim.audit.preflight import duplicates_within, overlaps, suspicious_pairs


def test_duplicates_are_grouped():
    (finding,) = duplicates_within(["a", "b", "c", "d"], ["1", "2", "1", "1"])
    assert finding.items == [("a", "c", "d")]
    assert finding.message.startswith("3 of 4 training images are copies of each other, in 1 group")
    assert not finding.qualifies
    assert duplicates_within(["a", "b"], ["1", "2"]) == []


def test_images_and_subjects_on_both_sides_are_left_out():
    train = (["a", "b"], ["1", "2"], ["p", "q"])
    findings, usable = overlaps(train, (["x", "y", "z"], ["1", "3", "4"], ["r", "q", "s"]))
    assert [finding.items for finding in findings] == [[("x", "a")], [("q",)]]
    assert all(finding.qualifies for finding in findings)
    assert usable.tolist() == [False, False, True]
    assert overlaps(train, (["z"], ["4"], ["s"]))[0] == []


def test_pairs_are_sorted_by_score():
    scores, partners = np.array([0.9, 0.99, 0.95]), np.array([1, 0, 0])
    pairs = suspicious_pairs(scores, partners, ["x", "y", "z"], ["a", "b"], np.array([0.97, 0.98, np.nan]), 0.95)
    assert pairs == [("y", "a"), ("x", "b")]
