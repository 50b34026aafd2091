import numpy as np
import pytest

from deepssim.audit.cache import AuditCache
from deepssim.audit.calibration import Rule
from deepssim.audit.controls import AUTOENCODER, choose_controls, make_controls, positive_controls, teaching
from deepssim.audit.evidence import Detective
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.detection.score import Score
from deepssim.evaluation.intervals import share_interval
from deepssim.images.distort import DISTORTIONS
from deepssim.images.folders import pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings
from tests.audit.folders import drawing

SUBJECTS = [f"p{n // 2}" for n in range(12)]
SCORE = Score(tuple("abcde"), np.array([4.0, 4, 1, 1, 1]), np.array([4.0, 4, 1, 1, 1]), np.ones(5), (0, 0))
RULE = Rule(3.0, None, np.zeros(0, bool), share_interval(0, 0), "none", False)
EASY = ("none", "flip left-right", "quarter turn 90°", "inversion", "gamma 0.6", "JPEG 95", "noise 0.01", "crop 10 %")


def no_embeddings(pack):
    return Embeddings(np.ones((len(pack.keys), 2), np.float32), pack.keys, "none", "")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """Copies of four of twelve images; the autoencoder returns another subject's image."""
    random = np.random.default_rng(0)
    pack = ImagePack(np.stack([drawing(random) for _ in SUBJECTS]), [f"t{n}" for n in range(12)])
    train = Side(pack, pixel_hashes(pack), SUBJECTS, no_embeddings(pack))
    tools = AuditTools(
        no_embeddings, False, 0, 1, lambda part: ImagePack(np.roll(part.images, 2, axis=0).copy(), part.keys)
    )
    detective = Detective(Sides(train, train, None), tools, AuditCache(tmp_path_factory.mktemp("cache")), 3)
    return make_controls(train, 4, detective, tools)


@pytest.fixture
def controls(copied):
    return {item.distortion: item for item in positive_controls(copied, SUBJECTS, SCORE, RULE, 0.95)}


def test_every_distortion_is_a_control(controls):
    assert list(controls) == [*DISTORTIONS, AUTOENCODER]
    assert {item.found.total for item in controls.values()} == {4}


@pytest.mark.parametrize("name", EASY)
def test_easy_copies_are_found_traced_and_among_the_candidates(controls, name):
    control = controls[name]
    assert control.found.value == control.traced.value == control.retrieved.value == 1
    assert control.median_score > RULE.threshold


def test_copies_of_other_subjects_are_found_but_not_traced(controls):
    assert controls[AUTOENCODER].found.value == 1
    assert controls[AUTOENCODER].traced.value < 0.5


def test_a_rule_that_nothing_exceeds_finds_nothing(copied):
    never = Rule(float("inf"), None, RULE.alarms, RULE.alarm_rate, "none", False)
    (first, *_) = positive_controls(copied, SUBJECTS, SCORE, never, 0.95)
    assert (first.found.value, first.traced.value, first.retrieved.value) == (0, 0, 1)


def test_copies_are_joined_with_their_originals(copied):
    part = copied.part(np.arange(4) < 2)
    found, originals = part.together()
    assert len(found.partners) == len(originals) == 2 * len(DISTORTIONS)  # the unchanged copies teach nothing
    assert set(originals) == set(copied.rows[:2])
    np.testing.assert_array_equal(found.cues[:2], copied.found[list(DISTORTIONS)[1]].cues[:2])


def test_a_third_of_the_subjects_teach_and_none_of_them_tests(copied):
    many = copied.__class__(np.arange(12), {})
    taught = teaching(many, SUBJECTS, 0)
    assert taught.sum() == 4
    assert not {SUBJECTS[row] for row in np.flatnonzero(taught)} & {SUBJECTS[row] for row in np.flatnonzero(~taught)}
    assert not teaching(many, ["a"] * 12, 0).any()  # one person cannot be divided


def test_controls_are_of_as_many_subjects_as_possible():
    rows = choose_controls([f"p{n // 3}" for n in range(30)], 10, 0)
    assert sorted(row // 3 for row in rows) == list(range(10))
    assert choose_controls(["a", "b"], 10, 0) == [0, 1]
