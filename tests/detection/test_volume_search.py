"""The search among volumes: originals are found, excluded ones never, and neither threads nor the order of queries change a number."""

import dataclasses

import numpy as np
import pytest

from deepssim.detection.search import Cosines, Found
from deepssim.detection.volume_search import VolumeGallery, build_volume_gallery, search_volumes
from deepssim.images.distort import distort
from deepssim.images.packs import ImagePack
from deepssim.images.volume_distort import VOLUME_DISTORTIONS
from deepssim.registration.volume_poses import VOLUME_POSES
from deepssim.registration.volume_proof import VOLUME_CUES
from tests.audit.scans import head
from tests.registration.test_volume_registration import odd_volumes

COUNT, SIDE = 5, 32


def made(seed: int, side: int = SIDE) -> np.ndarray:
    volume = head(np.random.default_rng(seed), side)
    return np.rint(255 * volume / volume.max()).astype(np.uint8)


@pytest.fixture(scope="module")
def volumes() -> np.ndarray:
    return np.stack([made(seed) for seed in range(COUNT)])


@pytest.fixture(scope="module")
def gallery(volumes) -> VolumeGallery:
    return build_volume_gallery(volumes, 0)


def equal(first: Found, second: Found) -> None:
    for item in dataclasses.fields(Found):
        np.testing.assert_array_equal(getattr(first, item.name), getattr(second, item.name))


def best(found: Found, cue: int) -> np.ndarray:
    """Return the candidate with the most of a cue, for each volume."""
    columns = np.where(found.partners >= 0, found.cues[..., cue], -np.inf).argmax(axis=1)
    return found.partners[np.arange(len(columns)), columns]


def test_the_same_volumes_are_found_with_every_cue_1(gallery, volumes):
    found = search_volumes(gallery, volumes, k=1)
    for cue in range(len(VOLUME_CUES)):
        np.testing.assert_array_equal(best(found, cue), np.arange(COUNT))
    right = found.partners == np.arange(COUNT)[:, None]
    assert found.cues[right].min() > 0.99
    assert found.overlap[right].min() > 0.99
    assert found.proved[right].all()


def test_originals_are_found_in_any_pose(gallery, volumes):
    numbers = [5, 14, 23, 32, 41]
    posed = np.stack([np.ascontiguousarray(VOLUME_POSES[n].of(volumes[row])) for row, n in enumerate(numbers)])
    found = search_volumes(gallery, posed, k=1)
    for cue in range(len(VOLUME_CUES)):
        np.testing.assert_array_equal(best(found, cue), np.arange(COUNT))
    assert found.cues[found.partners == np.arange(COUNT)[:, None]].min() > 0.95


def test_originals_of_changed_copies_are_found(gallery, volumes):
    pack = ImagePack(volumes, [str(row) for row in range(COUNT)])
    found = search_volumes(gallery, distort(pack, "rotation 12°", 0, changes=VOLUME_DISTORTIONS).images, k=1)
    for cue in range(1, len(VOLUME_CUES)):
        np.testing.assert_array_equal(best(found, cue), np.arange(COUNT))
    right = found.partners == np.arange(COUNT)[:, None]
    assert found.cues[right][:, 1:].min() > 0.85


def test_other_heads_have_clearly_less(gallery):
    found = search_volumes(gallery, np.stack([made(seed) for seed in (20, 21)]), k=1)
    assert found.cues[..., 1:].max() < 0.85
    assert found.cues[..., 0].max() < 0.9


def test_candidates_are_different_real_volumes_and_two_are_registered(gallery, volumes):
    found = search_volumes(gallery, volumes[:2], k=2)
    assert found.partners.shape == (2, COUNT)  # of 3 sources of 2, and no more than there are
    assert found.cues.shape == (2, COUNT, len(VOLUME_CUES))
    for row in range(2):
        known = found.partners[row][found.partners[row] >= 0]
        assert len(set(known.tolist())) == len(known) >= 2
        assert (found.partners[row, len(known) :] == -1).all()
        assert found.proved[row, :2].all()
        assert not found.proved[row, 2:].any()
        assert not found.cues[row, 2:, 1:].any()


def test_more_candidates_than_real_volumes_are_all_of_them(gallery, volumes):
    found = search_volumes(gallery, volumes[:1], k=50)
    assert sorted(found.partners[0].tolist()) == list(range(COUNT))


def test_excluded_volumes_are_never_candidates(gallery, volumes):
    def same(rows: np.ndarray) -> np.ndarray:
        return rows[:, None] == np.arange(COUNT)

    found = search_volumes(gallery, volumes[:3], k=COUNT, excluded=same)
    for row in range(3):
        assert sorted(found.partners[row].tolist()) == [-1, *(other for other in range(COUNT) if other != row)]
    assert found.cues[..., 1:].max() < 0.85
    nothing = search_volumes(gallery, volumes[:2], k=2, excluded=lambda rows: np.ones((len(rows), COUNT), bool))
    assert (nothing.partners == -1).all()
    assert not nothing.cues.any()
    assert not nothing.proved.any()


def test_threads_order_and_company_change_no_number(gallery, volumes):
    queries = np.stack([volumes[1], made(20), made(21)])
    options = {"k": 1, "excluded": lambda rows: rows[:, None] == np.arange(COUNT) - 2}
    found = search_volumes(gallery, queries, **options)
    again = build_volume_gallery(volumes, 0, threads=2)
    equal(search_volumes(again, queries, threads=2, **options), found)
    turned = search_volumes(
        gallery, queries[::-1], k=1, excluded=lambda rows: 2 - rows[:, None] == np.arange(COUNT) - 2
    )
    equal(turned.part(np.arange(3)[::-1]), found)


def test_an_encoder_is_one_more_source_and_cue(gallery, volumes):
    random = np.random.default_rng(0)
    real, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in random.normal(size=(2, COUNT, 8)))
    cosines = Cosines(real.astype(np.float32), other[:2].astype(np.float32))
    found = search_volumes(gallery, volumes[:2], k=1, cosines=cosines)
    assert found.cues.shape[2] == len(VOLUME_CUES) + 1
    expected = cosines.other @ cosines.real.T
    for row in range(2):
        known = found.partners[row] >= 0
        partners = found.partners[row][known]
        assert int(expected[row].argmax()) in partners
        np.testing.assert_allclose(found.cues[row, known, -1], expected[row, partners], atol=1e-6)


def test_a_single_real_volume_is_compared_with_all(volumes):
    alone = build_volume_gallery(volumes[:1], 0)
    found = search_volumes(alone, volumes[:2], k=3)
    np.testing.assert_array_equal(found.partners, [[0], [0]])
    assert found.cues[0].min() > 0.99
    assert found.cues[1, 0, 1:].max() < 0.85


def test_identical_real_volumes_are_as_good_as_one(volumes):
    twins = build_volume_gallery(np.stack([volumes[0]] * 2), 0)
    found = search_volumes(twins, volumes[:2], k=1)
    assert found.cues[0, 0].min() > 0.99
    assert found.cues[1, 0, 1:].max() < 0.85


def test_a_gallery_of_one_volume_many_times_still_finds_it(volumes):
    """What all have in common is taken off, and nothing may be left."""
    many = build_volume_gallery(np.stack([volumes[0]] * 8), 0)
    found = search_volumes(many, np.stack([volumes[0], made(20)]), k=1)
    assert found.cues[0, 0].min() > 0.99
    assert found.cues[1, :, 1:].max() < 0.85


@pytest.mark.parametrize("name", ["empty", "line", "noise"])
def test_odd_volumes_among_real_ones_and_queries_are_no_trouble(name, volumes):
    odd = odd_volumes()[name]
    odd = np.pad(odd, (SIDE - len(odd)) // 2)
    found = search_volumes(build_volume_gallery(np.stack([volumes[0], odd]), 0), np.stack([odd, volumes[0]]), k=2)
    assert np.isfinite(found.cues).all()
    assert np.isfinite(found.overlap).all()
    assert found.cues[1][found.partners[1] == 0].min() > 0.99
    assert found.cues[1][found.partners[1] == 1, 1:].max() < 0.9
    assert found.cues[0][found.partners[0] == 0, 1:].max() < 0.9


def test_an_empty_collection_of_queries_has_no_candidates(gallery):
    found = search_volumes(gallery, np.zeros((0, SIDE, SIDE, SIDE), np.uint8), k=1)
    assert found.partners.shape == (0, 3)


def test_features_without_anything_in_common_have_length_1_and_the_reference_is_one_of_the_volumes(gallery, volumes):
    norms = np.linalg.norm(gallery.features, axis=2)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    assert any(gallery.reference.prepared is item for item in gallery.prepared)
    assert gallery.maps.shape == (COUNT, 3, 4)
    row = next(place for place, item in enumerate(gallery.prepared) if item is gallery.reference.prepared)
    np.testing.assert_allclose(gallery.maps[row], np.eye(3, 4), atol=0.05)  # of itself
