"""Phantoms, bounds and the other further statistics of a small made audit, and simulated audits in which nobody is copied."""

import hashlib
import json

import numpy as np
import pytest

from benchmarks import coverage_further
from benchmarks.coverage_further import phantoms as made_phantoms
from deepssim.audit.cache import AuditCache
from deepssim.audit.engine import embed_patterns
from deepssim.audit.examination import examine
from deepssim.audit.further import epsilon_figures, further_figures
from deepssim.audit.phantoms import find_phantoms, phantom_figures
from deepssim.audit.random_draw import RandomDraw
from deepssim.audit.retrieval import find_neighbours
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.detection.score import default_score
from deepssim.images.packs import ImagePack
from deepssim.runtime.json_files import as_json
from tests.audit.folders import drawing
from tests.audit.test_calibration import best, rule_of

OPTIONS = AuditConfig(real="r", synthetic="s", controls=1, borderline=4, bootstrap=50, false_positive_rate=0.05)
TOOLS = AuditTools(embed_patterns, False, seed=0)
COPIED = 8
COMMON = {"encoder": False, "confidence": 0.95, "repetitions": 50, "seed": 0}


def side(images, name):
    pack = ImagePack(np.stack(images), [f"{name}{row:02d}" for row in range(len(images))])
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    return Side(pack, hashes, list(pack.keys), embed_patterns(pack))


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """Thirty training subjects, of whom eight are copied with another contrast, and thirty held-out ones."""
    random, store = np.random.default_rng(1), AuditCache(tmp_path_factory.mktemp("cache"))
    train, holdout = ([drawing(random) for _ in range(30)] for _ in range(2))
    copies = [np.rint(40 + 0.6 * image).astype(np.uint8) for image in train[:COPIED]]
    sides = Sides(side(train, "t"), side([*copies, *(drawing(random) for _ in range(22))], "s"), side(holdout, "h"))
    figures = examine(sides, [], OPTIONS, TOOLS, store)
    phantoms = find_phantoms(sides, np.ones(30, bool), TOOLS, store, OPTIONS.candidates)
    neighbours = find_neighbours(sides.train.embeddings, sides.synthetic.embeddings, sides.holdout.embeddings)
    return sides, neighbours, figures, phantoms


def further(sides, neighbours, figures, phantoms, **options):
    return further_figures(
        sides, neighbours, figures.membership, figures.copies, figures.negative, figures.score, figures.rule, phantoms,
        **COMMON | options,
    )  # fmt: skip


def test_copied_subjects_exceed_phantoms(audited):
    *_, figures, phantoms = audited
    found = phantom_figures(phantoms, figures.score, figures.rule, confidence=0.95)
    assert (found["training"].total, found["holdout"].total) == (30, 30)
    assert COPIED <= found["training"].count <= COPIED + 2
    assert found["holdout"].count <= 2
    assert found["difference"].value == found["training"].value - found["holdout"].value
    assert found["exceeds"]
    assert found["expected_by_chance"] == found["holdout"].count
    assert found["images_per_subject"] == {"training": 1.0, "holdout": 1.0}


def test_both_sides_compete_in_one_gallery_in_an_order_that_tells_nothing(audited):
    sides, _, figures, phantoms = audited
    assert sorted(phantoms.subjects) == sorted(
        [*(f"train {name}" for name in sides.train.subjects), *(f"holdout {name}" for name in sides.holdout.subjects)]
    )
    assert phantoms.trained.sum() == 30
    assert not phantoms.trained[:30].all()
    assert [name.startswith("train") for name in phantoms.subjects] == phantoms.trained.tolist()
    assert phantoms.members.tolist() == [False] * 30 + [True] * 30  # "holdout ..." comes before "train ..."
    people = phantoms.subject_scores(figures.score)
    names = sorted(phantoms.subjects)
    assert {names[row] for row in np.argsort(-people)[:COPIED]} == {f"train t{row:02d}" for row in range(COPIED)}


def test_held_out_images_can_be_left_out(audited, tmp_path):
    sides, *_ = audited
    usable = np.arange(30) >= 4
    found = find_phantoms(sides, usable, TOOLS, AuditCache(tmp_path), 1)
    assert (~found.trained).sum() == 26
    assert found.left_out == 4
    assert "holdout h03" not in found.subjects
    with pytest.raises(ValueError, match="need a holdout"):
        find_phantoms(Sides(sides.train, sides.synthetic, None), usable, TOOLS, AuditCache(tmp_path), 1)


def test_of_many_synthetic_images_some_are_drawn_whatever_their_order(audited, tmp_path):
    sides, *_, figures, _ = audited
    usable, store = np.ones(30, bool), AuditCache(tmp_path)
    found = find_phantoms(sides, usable, TOOLS, store, 1, most=10)
    assert (found.images, found.drawn, len(found.found.partners)) == (30, 10, 10)
    summary = phantom_figures(found, figures.score, figures.rule, confidence=0.95)
    assert (summary["images"], summary["images_compared"]) == (30, 10)
    order = np.random.default_rng(3).permutation(30)
    mixed = side([sides.synthetic.pack.images[row] for row in order], "x")
    again = find_phantoms(Sides(sides.train, mixed, sides.holdout), usable, TOOLS, store, 1, most=10)
    np.testing.assert_array_equal(again.subject_scores(figures.score), found.subject_scores(figures.score))


def test_the_summary_holds_all_statistics_as_json(audited):
    found = further(*audited)
    summary = json.loads(json.dumps(as_json(found.summary), allow_nan=False))
    assert list(summary) == ["membership", "phantoms", "epsilon", "memorization_index", "fidelity"]
    membership = summary["membership"]
    assert membership["members_against_non_members"]["value"] > 0.5
    assert membership["members_against_members"]["repetitions"] == 200
    assert [row["false_positive_rate"] for row in membership["true_positive_rates"]] == [0.01, 0.001]
    assert membership["true_positive_rates"][0]["rate"]["method"] == "needs 500 held-out subjects, there are 30"
    assert membership["true_positive_rates"][1]["rate"]["method"] == "needs 5,000 held-out subjects, there are 30"
    assert membership["true_positive_rates"][1]["rate"]["value"] is None
    assert membership["disclosure"]["line"] == 0.09
    assert summary["epsilon"]["valid"] is False
    assert summary["epsilon"]["reason"].startswith("members were not drawn at random")
    assert summary["fidelity"]["precision"]["value"] <= 1
    assert found.index.shape == found.excess.shape == (30,)
    assert found.index[:COPIED].min() > 0.9
    assert np.median(found.index[COPIED:]) < 0.6
    index = summary["memorization_index"]
    assert index["null"] == "held-out images, as if they were synthetic"
    assert index["excess"] == pytest.approx(COPIED / 30, abs=0.2)


def test_without_a_holdout_only_what_needs_none(audited):
    sides, _, figures, _ = audited
    found = further(Sides(sides.train, sides.synthetic, None), None, figures, None).summary
    for name in ("membership", "phantoms", "epsilon"):
        assert found[name] == {"reason": "there are no held-out images that could be used"}
    assert found["fidelity"]["reason"] is None
    unsought = further(sides, audited[1], figures, None).summary
    assert unsought["phantoms"] == {"reason": "the synthetic images were not compared with held-out images"}
    assert unsought["membership"]["reason"] is None


def test_a_declared_draw_makes_the_bound_valid(random):
    members = random.random(120) < 0.5
    phantoms, rule = made_phantoms(random, members, 20), rule_of(best(np.linspace(0, 3, 200)), 0.05)
    score = default_score(5)
    draw = RandomDraw(0.5)
    found = epsilon_figures(phantoms, score, rule, draw, encoder=False, confidence=0.95, seed=0)
    assert found["valid"]
    assert found["reason"] is None
    assert (found["ranked"]["guesses"], found["ranked"]["subjects"]) == (12, 120)
    assert found["ranked"]["correct"] == 12
    assert found["ranked"]["epsilon"] > 0.8
    assert found["counted"]["correct"] >= 20
    some = frozenset(name.partition(" ")[2] for name in phantoms.subjects[:60])
    part = epsilon_figures(phantoms, score, rule, RandomDraw(0.5, some), encoder=False, confidence=0.95, seed=0)
    assert part["ranked"]["subjects"] == 60
    doubt = epsilon_figures(phantoms, score, rule, draw, encoder=True, confidence=0.95, seed=0)
    assert not doubt["valid"]
    assert "encoder that may have been trained on members" in doubt["reason"]
    nobody = epsilon_figures(
        phantoms, score, rule, RandomDraw(0.5, frozenset()), encoder=False, confidence=0.95, seed=0
    )
    assert nobody["ranked"] is None
    assert nobody["reason"] == "the draw has no members or no non-members"


def test_an_identical_image_copies_a_subject_whatever_the_score(random):
    members = np.arange(40) < 20
    phantoms = made_phantoms(random, members, 0)
    phantoms.identical[[0, 39]] = True
    rule = rule_of(best(np.linspace(0, 1000, 200)), 0.05)
    found = phantom_figures(phantoms, default_score(5), rule, confidence=0.95)
    assert (found["training"].count, found["holdout"].count) == (1, 1)
    none = phantom_figures(phantoms, default_score(5), rule_of(best([]), 0.05), confidence=0.95)
    assert none["difference"] is None
    assert none["reason"] == "there is no limit, or no held-out subject to compare with"


@pytest.mark.parametrize("people", [(60, 60), (150, 20), (20, 150)])
def test_galleries_of_any_size_give_equal_rates_where_nobody_is_copied(random, people):
    members = np.arange(sum(people)) < people[0]
    rule = rule_of(best(np.linspace(0, 1.6, 400)), 0.05)
    found = [
        phantom_figures(made_phantoms(random, members, 0), default_score(5), rule, confidence=0.95) for _ in range(60)
    ]
    rates = np.mean([[one["training"].value, one["holdout"].value] for one in found], axis=0)
    assert rates[0] == pytest.approx(rates[1], rel=0.15)
    assert rates[0] > 0.05
    assert np.mean([one["exceeds"] for one in found]) <= 0.05
    assert np.mean([one["ratio"].low > 1 for one in found]) <= 0.05


@pytest.mark.parametrize("design", coverage_further.DESIGNS)
def test_nothing_warns_where_nobody_is_copied(design):
    """What a thousand of them say is in docs/audit.md; five or more of 25 would be rarer than one in a hundred."""
    found = [coverage_further.audit(design, 0.0, repetition) for repetition in range(25)]
    assert sum(run["any warning"] for run in found) <= 4
    assert sum(run["epsilon above 0"] for run in found) <= 4
    assert np.mean([run["AUROC within the range of divisions"] for run in found]) >= 0.8


def test_copies_are_seen_and_the_index_rises_with_them():
    design, rates = coverage_further.Design(100, 60, 2, 0.5), (0.0, 0.1, 0.7)
    found = [[coverage_further.audit(design, rate, repetition) for repetition in range(12)] for rate in rates]
    index = [np.mean([run["memorization index"] for run in runs]) for runs in found]
    assert index[0] < index[1] < index[2]
    assert all(run["more copies than phantoms"] and run["epsilon above 0"] for run in found[2])
    # A third of the images above all others: AUROC 0.5 + 0.35 / 2, with a range of about 0.5 +- 0.08.
    assert np.mean([run["AUROC above the range"] for run in found[2]]) > 0.8
