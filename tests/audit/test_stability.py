"""Several seeds: what they agree on, and that the worst of their verdicts counts."""

import dataclasses
import json

import numpy as np
import pytest

from deepssim.audit import run as audit_run
from deepssim.audit.second_opinions import SecondOpinions
from deepssim.audit.stability import Repetition, stability
from deepssim.cli import main
from deepssim.evaluation.intervals import share_interval
from deepssim.evaluation.verdict import Verdict
from tests.audit.folders import make_folders
from tests.audit.test_run import PATTERN, QUICK, run, timeless
from tests.html_rules import faults


def repetition(seed, verdict, flagged):
    flagged = np.array(flagged, bool)
    none = np.zeros(len(flagged), bool)
    return Repetition(seed, verdict, flagged, none, none, share_interval(int(flagged.sum()), len(flagged)), 1.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("data"), real=12, synthetic=8, holdout=8, copies=2)


def test_agreement_of_seeds_matches_hand_calculation():
    found = stability(
        [
            repetition(3, Verdict.COPIES, [1, 1, 0, 0]),
            repetition(4, Verdict.COPIES, [1, 0, 0, 0]),
            repetition(5, Verdict.NONE, [1, 0, 0, 0]),
        ],
        ["a", "b", "c", "d"],
    )
    assert [found[f"called_by_{who}"] for who in ("all", "some", "none")] == [1, 1, 2]
    assert found["agreement"] == 3 / 4
    # Pairs of seeds that agree: 1, 1/3, 1, 1, mean 5/6; share of copies 1/3, by chance 5/9.
    assert found["fleiss_kappa"] == pytest.approx((5 / 6 - 5 / 9) / (4 / 9))
    assert found["disputed"] == [{"synthetic": "b", "seeds": 1}]
    assert not found["verdicts_agree"]
    assert [(item["seed"], item["flagged"]) for item in found["runs"]] == [(3, 2), (4, 1), (5, 1)]


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ([Verdict.NONE, Verdict.NONE, Verdict.COPIES], Verdict.COPIES),
        ([Verdict.NONE, Verdict.CANDIDATES], Verdict.CANDIDATES),
        ([Verdict.CANDIDATES, Verdict.CANNOT_TELL], Verdict.CANNOT_TELL),
        ([Verdict.COPIES, Verdict.NONE], Verdict.COPIES),
        ([Verdict.NONE, Verdict.NONE], Verdict.NONE),
    ],
)
def test_the_worst_verdict_counts_and_disagreement_is_said(verdicts, worst):
    opinions = SecondOpinions(tuple(repetition(seed, verdict, [0]) for seed, verdict in enumerate(verdicts)))
    assert opinions.verdict(verdicts[0]) is worst
    differ = len(set(verdicts)) > 1
    assert bool(opinions.opening()) is differ
    assert [finding.qualifies for finding in opinions.findings()] == [True] * differ
    if differ:
        assert all(verdict.value in opinions.opening() for verdict in verdicts)


def test_the_first_of_several_seeds_is_the_report(tmp_path, folders, cache, caplog):
    alone = run(folders, tmp_path / "alone", cache, holdout=folders / "holdout", seed=1)
    several = run(folders, tmp_path / "several", cache, holdout=folders / "holdout", seed=1, seeds=2, card=True)
    card = (tmp_path / "several" / "card.md").read_text()
    assert card.count("| verdict and synthetic images called copies, seed ") == 2
    assert alone["stability"] == {}
    assert [item["seed"] for item in several["stability"]["runs"]] == [1, 2]
    first = several["stability"]["runs"][0]
    assert first["flagged"] == alone["figures"]["flagged_share"]["count"]
    assert first["synthetic_that_copy"] == alone["figures"]["synthetic_that_copy"]
    own = {name: timeless(several)[name] for name in ("figures", "rule", "score", "controls", "verdict")}
    assert own == {name: alone[name] for name in own}
    page = (tmp_path / "several" / "index.html").read_text()
    assert 'id="stability"' in page
    assert faults(page) == []
    assert 'id="stability"' not in (tmp_path / "alone" / "index.html").read_text()
    caplog.set_level("INFO", logger="deepssim")
    assert timeless(run(folders, tmp_path / "again", cache, holdout=folders / "holdout", seed=1, seeds=2)) == timeless(
        several
    )
    assert "0 of 8 images were compared" in caplog.text or "8 images: 0 compared" in caplog.text  # the cache knows both


def test_a_seed_that_finds_copies_overrules_the_others(tmp_path, folders, cache, monkeypatch, capsys):
    """The verdicts and calls of two seeds are set, to see what the report makes of them."""
    examine = audit_run.examine

    def changed(sides, findings, options, tools, store, **further):
        found = examine(sides, findings, options, tools, store, **further)
        flagged = np.zeros(8, bool)
        flagged[5] = tools.seed == 1
        verdict = Verdict.COPIES if tools.seed == 1 else Verdict.NONE
        copies = dataclasses.replace(found.copies, flagged=flagged, identical=np.zeros(8, bool))
        return dataclasses.replace(found, verdict=verdict, copies=copies)

    monkeypatch.setattr(audit_run, "examine", changed)
    config = tmp_path / "own.yaml"
    config.write_text(json.dumps({"audit": QUICK}))
    out = tmp_path / "report"
    with pytest.raises(SystemExit) as stop:
        main([
            "audit", str(folders / "real"), str(folders / "synthetic"), "--out", str(out), "--seeds", "3", "--cache", str(cache),
            "--holdout", str(folders / "holdout"), "--config", str(config), "--subject-pattern", PATTERN, "--seed", "0",
        ])  # fmt: skip
    assert stop.value.code == 3
    found = json.loads((out / "summary.json").read_text())["verdict"]
    assert found["result"] == Verdict.COPIES
    start = "Seeds disagree: copies found with seed 1; no copies found with seeds 0, 2; the worst counts. With seed 0, "
    assert found["sentence"].startswith(start)
    assert "None of 8 synthetic images was found to copy" in found["sentence"]
    assert any("depends on the seed" in text for text in found["reservations"])
    assert capsys.readouterr().out.startswith("copies found: Seeds disagree")
    assert "s05.png" in (out / "drop.txt").read_text()
    assert "s05.png" not in (out / "keep.txt").read_text()
    page = (out / "index.html").read_text()
    assert "<strong>Copies found, with reservations</strong>" in page
    assert "The verdicts differ" in page


def test_the_exit_code_follows_the_seed_with_most_copies():
    rates = {value: {"synthetic_that_copy": {"value": value}} for value in (0.0, 0.2)}
    found = {"verdict": {"result": "copies found"}, "figures": rates[0.0], "stability": {"runs": list(rates.values())}}
    assert audit_run.above_limit(found, 0.1)
    assert not audit_run.above_limit(found, 0.3)
    assert not audit_run.above_limit(found | {"stability": {}}, 0.1)
