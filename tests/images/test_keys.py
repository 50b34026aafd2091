import pytest

from deepssim.errors import DataError
from deepssim.images.keys import checked_keys, checked_uid, real_key, require_unique, split_key, synthetic_key


def test_keys_are_those_of_the_reference():
    assert real_key("p1") == "p1___training"
    assert synthetic_key("p1", 3) == "p1___gen-3"
    assert split_key("p1___gen-3") == ("p1", "gen-3")


@pytest.mark.parametrize("uid", ["", ".", "..", "a/b", "a\\b", "../x", "a___b", "a\n"])
def test_a_uid_cannot_leave_the_images_folder(uid):
    with pytest.raises(DataError, match="cannot name a folder"):
        checked_uid(uid)


@pytest.mark.parametrize("key", ["p1", "p1__x", "p1___", "p1___../x", "../p1___x"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(DataError):
        split_key(key)


def test_repeated_keys_are_counted_and_named():
    with pytest.raises(DataError, match="own.csv: 2 image keys occur more than once, first 'b'"):
        require_unique(["a", "b", "b", "b"], "own.csv")


def test_all_unusable_keys_are_counted():
    good = ["a___training", "ü 1___gen-0"]
    assert checked_keys(good, "x") == good
    with pytest.raises(DataError, match="x: 2 of 4 keys cannot be used, first: image_uid '../a' cannot name a folder"):
        checked_keys([*good, "../a___training", "nothing"], "x")
