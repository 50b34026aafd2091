from deepssim.audit.preflight import duplicates_within, overlaps


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
