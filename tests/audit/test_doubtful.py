"""A limit that images of doubtful origin set clears nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from deepssim.audit.calibration import calibrated_rule
from deepssim.audit.evidence import Best
from deepssim.audit.examination import Verdict, _doubtful, _negative, _verdict
from deepssim.audit.leakage import Copies
from deepssim.audit.same_scans import SameScans
from deepssim.config.audit import AuditConfig
from deepssim.detection.search import Found

HELD_OUT = 100
OPTIONS = AuditConfig(false_positive_rate=0.05)
SUBJECTS = [f"h{number}" for number in range(HELD_OUT)]
SIDES = SimpleNamespace(holdout=SimpleNamespace(subjects=SUBJECTS), train=None)
FOUND = Found(
    np.zeros((HELD_OUT, 1), np.int64), np.zeros((HELD_OUT, 1, 5), np.float32), np.zeros((HELD_OUT, 1), np.float32),
    np.ones((HELD_OUT, 1), bool),
)  # fmt: skip


def judged(held_out, suspicious, synthetic):
    """Return how many synthetic images are doubtful, and the verdict."""
    scans = SameScans(np.zeros(HELD_OUT, bool), suspicious, np.zeros(HELD_OUT, np.int64))
    evidence = SimpleNamespace(holdout=(FOUND, scans), train=None)
    score = SimpleNamespace(of=lambda found: held_out[:, None])
    negative = _negative(SIDES, evidence, score)
    rule = calibrated_rule(negative, held_out=True, rate=0.05, confidence=0.95, seed=0)
    best = Best(
        synthetic, np.zeros(len(synthetic), np.int64), np.zeros((len(synthetic), 5), np.float32), ["s"] * len(synthetic)
    )
    doubtful = _doubtful(SIDES, evidence, score, best, rule, OPTIONS)
    nothing = np.zeros(len(synthetic), bool)
    copies = Copies(rule.flags(synthetic), nothing, np.zeros(len(synthetic), np.int64), synthetic, best.cues, nothing)
    return doubtful, _verdict(copies, nothing, 1.0, rule, complete=not doubtful)


@pytest.fixture
def scores():
    return np.linspace(0.0, 0.9, HELD_OUT)


def test_copies_below_a_limit_of_doubtful_images_are_not_cleared(scores):
    """Twenty held-out images are changed training images: their scores are those of copies, and they set the limit."""
    contaminated = np.where(np.arange(HELD_OUT) < 20, 5.0, scores)
    suspicious = np.arange(HELD_OUT) < 20
    synthetic = np.array([0.1, 0.5, 3.0, 4.0])  # two copies
    assert judged(contaminated, suspicious, synthetic) == (2, Verdict.CANNOT_TELL)


def test_doubtful_images_that_change_nothing_do_not_matter(scores):
    suspicious = np.arange(HELD_OUT) < 20
    assert judged(scores, suspicious, np.array([0.1, 0.5])) == (0, Verdict.NONE)
    assert judged(scores, np.zeros(HELD_OUT, bool), np.array([0.1, 5.0])) == (0, Verdict.CANDIDATES)


def test_where_all_images_are_alike_nothing_else_could_set_the_limit(scores):
    assert judged(scores, np.ones(HELD_OUT, bool), np.array([0.1, 0.5]))[0] == 0
