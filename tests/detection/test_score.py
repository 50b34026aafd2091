"""One score of pairs: what unrelated images reach is about 1, whatever their images have in common."""

import numpy as np
import pytest

from deepssim.detection.score import learn_score
from deepssim.detection.search import Found
from deepssim.registration.proof import CUES


def found(cues, partners=None):
    cues = np.asarray(cues, np.float32)
    partners = np.tile(np.arange(cues.shape[1]), (len(cues), 1)) if partners is None else partners
    return Found(partners, cues, np.ones(partners.shape, np.float32), np.ones(partners.shape, bool))


def no_copies():
    return found(np.zeros((0, 3, len(CUES)))), np.zeros(0, np.int64)


def unrelated(random, images, keypoints):
    """Draw cues of the candidates of unrelated images, of which no two share more than a few keypoints."""
    cues = random.uniform(0, 0.6, (images, 3, len(CUES)))
    cues[..., :2] = random.integers(0, keypoints + 1, (images, 3, 2))
    return found(cues)


@pytest.mark.parametrize("keypoints", [4, 20])
def test_unrelated_images_reach_about_one_and_copies_more(random, keypoints):
    score = learn_score(unrelated(random, 200, keypoints), *no_copies())
    best = score.of(unrelated(random, 200, keypoints)).max(axis=1)
    assert np.quantile(best, 0.98) < 1.8
    for name, value in (("keypoints", 6 * keypoints), ("SSIM registered", 0.98)):
        cues = np.zeros(len(CUES))
        cues[CUES.index(name)] = value
        assert score.of_cues(cues) > 2


def test_where_unrelated_images_share_no_keypoints_one_is_still_nothing(random):
    others = unrelated(random, 100, 0)
    score = learn_score(others, *no_copies())
    one, many = np.zeros(len(CUES)), np.zeros(len(CUES))
    one[0], many[0] = 1, 30
    assert score.of_cues(one) < 0.5
    assert score.of_cues(many) > 5


def test_missing_candidates_have_no_score(random):
    others = unrelated(random, 30, 4)
    score = learn_score(others, *no_copies())
    missing = Found(np.where(np.arange(3) == 1, -1, others.partners), others.cues, others.overlap, others.proved)
    assert (score.of(missing)[:, 1] == -np.inf).all()
    assert np.isfinite(score.of(missing)[:, 0]).all()


def test_too_few_images_leave_the_defaults(random):
    assert learn_score(unrelated(random, 19, 4), *no_copies()).learned_from == (0, 0)
    assert learn_score(unrelated(random, 20, 4), *no_copies()).learned_from == (20, 0)


def test_a_cue_that_sees_no_copy_loses_weight_and_never_all_of_it(random):
    """Copies that only keypoints find, and a pattern in place that unrelated images share."""
    copies = np.zeros((40, 3, len(CUES)))
    copies[:, 0, 0] = 12
    score = learn_score(unrelated(random, 200, 4), found(copies), np.zeros(40, np.int64))
    weights = dict(zip(score.names, score.weights, strict=True))
    assert weights["keypoints"] > weights["pattern in place"]
    assert min(score.weights) >= 0.5
    assert score.learned_from == (200, 40)
