"""The same patient at another visit: made data whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from deepssim.audit.cache import AuditCache
from deepssim.audit.calibration import Rule
from deepssim.audit.evidence import Detective
from deepssim.audit.phrases import same_subject_phrase
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.audit.units import IMAGE, SUBJECT
from deepssim.audit.visits import NO_LIMIT, NONE_WITH_SEVERAL, SameSubject, make_visits, same_subject
from deepssim.audit.wording import Circumstances, HoldoutUse
from deepssim.detection.score import Score
from deepssim.evaluation.intervals import Interval, share_interval
from deepssim.images.distort import distort
from deepssim.images.folders import pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings
from tests.audit.folders import drawing

PEOPLE = 10
SUBJECTS = [f"p{number}" for number in range(PEOPLE)] * 2  # the first and the second visit of each
SCORE = Score(tuple("abcde"), np.array([4.0, 4, 1, 1, 1]), np.array([4.0, 4, 1, 1, 1]), np.ones(5), (0, 0))
LIMIT = 3.0


def rule(limit=LIMIT):
    return Rule(limit, None, np.zeros(0, bool), share_interval(0, 0), "none", False)


def embed(pack):
    return Embeddings(np.ones((len(pack.keys), 2), np.float32), pack.keys, "none", "")


def side_of(images, subjects, keys=None):
    pack = ImagePack(np.stack(images), keys or [f"t{number}" for number in range(len(images))])
    return Side(pack, pixel_hashes(pack), list(subjects), embed(pack))


def first_visits():
    random = np.random.default_rng(0)
    return [drawing(random) for _ in range(PEOPLE)], random


def again(images):
    """Return the same people at another visit: noisier, darker and turned a little."""
    pack = ImagePack(np.stack(images), [f"v{number}" for number in range(len(images))])
    return list(distort(distort(pack, "rotation 5°", 1), "gamma 0.6", 1).images)


def control(side, store, visits=(), most=100, unusable=None, limit=LIMIT):
    tools = AuditTools(embed, False, 0)
    detective = Detective(Sides(side, side, None), tools, AuditCache(store), 3)
    none = np.zeros(len(side.subjects), bool)
    visited = make_visits(side, visits, none if unusable is None else unusable, most, detective, tools)
    return visited, same_subject(visited, side.subjects, SCORE, rule(limit), 0.95)


@pytest.fixture(scope="module")
def people():
    """Half of the patients look the same at the second visit but for the scanner, and the others like somebody else."""
    first, random = first_visits()
    return side_of([*first, *again(first[:5]), *(drawing(random) for _ in range(5))], SUBJECTS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_only_images_that_look_like_their_subject_are_called_copies(people, store):
    _, found = control(people, store)
    assert (found.images, found.eligible, found.reason) == (20, 20, None)
    assert (found.called.count, found.called.total) == (10, 20)
    assert (
        10 <= found.nearest.count < found.retrieved.count
    )  # some resemble their other image most by chance, far below the limit
    assert found.called.low < 0.5 < found.called.high
    assert "by subject" in found.called.method
    assert found.median_score > 0


def test_images_of_one_subject_that_have_nothing_in_common_are_no_copies(tmp_path):
    first, random = first_visits()
    side = side_of([*first, *(drawing(random) for _ in range(PEOPLE))], SUBJECTS)
    _, found = control(side, tmp_path)
    assert (found.called.value, found.called.low) == (0, 0)
    assert found.called.high == pytest.approx(
        1 - 0.05 ** (1 / PEOPLE)
    )  # rule of three over the subjects, not the images


def test_an_image_of_another_subject_is_no_copy_of_the_same_subject(tmp_path):
    """The pictures are the same as above, but those of the second visit have got the names of others."""
    first, _ = first_visits()
    side = side_of([*first, *again(first)], [*SUBJECTS[:PEOPLE], *SUBJECTS[1:PEOPLE], SUBJECTS[0]])
    _, found = control(side, tmp_path)
    assert found.called.count == found.nearest.count == 0


def test_the_same_picture_stored_twice_is_left_out(tmp_path):
    first, random = first_visits()
    stored_again = np.clip(first[1].astype(int) + random.integers(-1, 2, first[1].shape), 0, 255).astype(np.uint8)
    side = side_of([*first, first[0], stored_again], [*SUBJECTS[:PEOPLE], "p0", "p1"])
    visited, found = control(side, tmp_path)
    assert (found.images, found.eligible, found.called) == (0, 4, None)
    assert found.reason == NONE_WITH_SEVERAL
    assert visited.found is None


def test_images_of_one_visit_or_file_are_not_compared(people, store):
    of_one_visit = [f"{subject} on Monday" for subject in people.subjects]
    assert control(people, store, visits=of_one_visit)[1].reason == NONE_WITH_SEVERAL
    keys = [f"{subject}.npy#{row}" for row, subject in enumerate(people.subjects)]
    assert control(side_of(people.pack.images, people.subjects, keys), store)[1].eligible == 0


def test_so_many_images_are_drawn_of_as_many_subjects_as_possible(people, store):
    visited, found = control(people, store, most=8)
    assert (found.images, found.eligible) == (8, 20)
    assert len({people.subjects[row] for row in visited.rows}) == 8


def test_subjects_who_may_be_one_patient_under_two_names_are_left_out(people, store):
    unusable = np.isin(people.subjects, ["p0", "p1"])
    visited, found = control(people, store, unusable=unusable)
    assert (found.images, found.called.count) == (16, 6)
    assert not unusable[visited.rows].any()


def test_without_a_limit_nothing_is_known(people, store):
    found = control(people, store, limit=float("inf"))[1]
    assert (found.called, found.reason) == (None, NO_LIMIT)


def circumstances(unit=SUBJECT):
    return Circumstances(HoldoutUse.USED, unit, 0.01, 0.02, 50)


def result(count, total):
    return SameSubject(total, total, share_interval(count, total), None, None, float("nan"), None)


@pytest.mark.parametrize(
    ("count", "total", "meaning"),
    [
        (60, 100, "So a copy means the patient rather than the picture: most new images"),
        (
            20,
            100,
            "That is more than chance explains: an image called a copy can also be a new image of the same patient.",
        ),
        (
            1,
            100,
            "So a copy means the picture: a new image of a training patient is rarely called one, and goes unseen.",
        ),
        (0, 10, "too few to say whether a copy means the picture or the patient"),
        (0, 1, "too few to say"),
    ],
)
def test_the_rate_says_whether_a_copy_is_a_picture_or_a_patient(count, total, meaning):
    text = same_subject_phrase(result(count, total), circumstances())
    judged = (
        "1 training image, judged as if it was" if total == 1 else f"{total} training images, judged as if they were"
    )
    called = "1 is called a copy" if count == 1 else f"{count} are called copies"
    assert text.startswith(f"Of {judged} synthetic, {called} of another image of the same subject (")
    assert meaning in text


def test_one_subject_with_several_images_says_nothing():
    alone = Interval(1.0, float("nan"), float("nan"), "all are of one subject or volume", 3, 3)
    text = same_subject_phrase(replace(result(3, 3), called=alone), circumstances())
    assert "(100 %; no interval: all are of one subject)" in text
    assert "too few to say" in text


def test_where_nobody_has_several_images_that_is_said(people, tmp_path):
    nothing = control(side_of(people.pack.images[:5], SUBJECTS[:5]), tmp_path)[1]
    text = same_subject_phrase(nothing, circumstances(IMAGE))
    assert text.endswith("is not known, since no patient is known to have images of several visits.")


def test_the_second_time_candidates_come_from_the_cache(people, store, caplog):
    control(people, store)
    caplog.set_level("INFO", logger="deepssim")
    caplog.clear()
    control(people, store)
    assert "20 images: 0 compared, 20 known from earlier audits" in caplog.text
