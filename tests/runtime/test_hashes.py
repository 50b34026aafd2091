"""Checksums in 32 bytes: given and sorted as their text is."""

import hashlib

import numpy as np

from deepssim.runtime.hashes import DIGEST, Hashes, digests_of

TEXTS = ["00" * 32, "ff" * 31 + "00", "0a" + "00" * 31, *(hashlib.sha256(bytes([n])).hexdigest() for n in range(40))]


def hashes() -> Hashes:
    return Hashes(np.array([bytes.fromhex(text) for text in TEXTS], DIGEST))


def test_they_are_given_as_text_also_where_they_end_in_zeros():
    found = hashes()
    assert list(found) == TEXTS == [found[place] for place in range(len(TEXTS))]
    assert found == TEXTS
    assert found[1:3] == TEXTS[1:3]
    assert found != TEXTS[:-1]
    assert found != [*TEXTS[:-1], TEXTS[0]]
    assert set(found) == set(TEXTS)
    assert found.digests.nbytes == 32 * len(TEXTS)


def test_they_sort_as_their_text_does():
    found = hashes()
    np.testing.assert_array_equal(np.argsort(found.digests, kind="stable"), np.argsort(TEXTS, kind="stable"))


def test_any_name_has_a_digest_and_equal_names_equal_ones():
    names = ["image", "image 2", "é", "", "\udce9", "image", *TEXTS, TEXTS[0].upper().replace("0", "A")]
    digests = digests_of(names)
    assert digests.dtype == DIGEST
    same = np.array(names, object)[:, None] == np.array(names, object)
    np.testing.assert_array_equal(digests[:, None] == digests, same)
    np.testing.assert_array_equal(digests_of(TEXTS), digests_of(hashes()))
