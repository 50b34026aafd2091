"""Context, tests run and not run, and cards: what was stated, what was not, and what each audit can answer."""

import json
import re

import pytest

from deepssim.audit.card import plain_markdown, versus, write_card
from deepssim.audit.context import context_entries, context_findings, context_summary, read_context
from deepssim.audit.criteria import EDPB, WP216, Status
from deepssim.audit.interval_text import decimal, number_text, points_text, rate_text
from deepssim.cli import main
from deepssim.config.audit import ContextConfig
from deepssim.config.choices import Release
from deepssim.errors import ConfigError
from tests.audit.conftest import REPORTS
from tests.audit.test_summary_pdf import pdf_text
from tests.conftest import ROOT

CLAIMS = re.compile(r"\b(private|anonymous|safe)\b", re.IGNORECASE)  # nothing that an audit could promise
KEYS = list(ContextConfig.model_fields)


def summary_of(reports, name):
    return json.loads((reports / name / "summary.json").read_text())


def questions_of(reports, name):
    return {row["name"]: row for row in summary_of(reports, name)["tests"]}


def test_the_example_states_everything():
    context = read_context(ROOT / "docs" / "context.yaml")
    assert context.date == "2026-03-01"
    assert context.release == (Release.IMAGES,)
    summary = context_summary(context)
    assert summary["missing"] == []
    assert summary["parameters_per_training_image"] == 270_000_000 / 4000
    entries = context_entries(summary)
    assert all(entry.stated for entry in entries)
    assert entries[-1].value == "67,500"


def test_what_was_not_stated_is_missing():
    summary = context_summary(ContextConfig(parameters=10, epochs=2000))
    assert summary["missing"] == [name for name in KEYS if name not in ("parameters", "epochs")]
    assert summary["parameters_per_training_image"] is None
    entries = {entry.name: entry for entry in context_entries(summary)}
    assert entries["Epochs (passes over the training images)"].value == "2,000"
    assert entries["Auditor"].value == entries["Parameters per training image"].value == "not stated"
    assert not entries["Auditor"].stated


@pytest.mark.parametrize(
    ("text", "message"),
    [("audtor: x", "audtor"), ("date: yesterday", "date"), ("epochs: 0", "epochs"), ("release: [source]", "release"), ("- x", "settings")],
)  # fmt: skip
def test_an_unusable_context_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "context.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refusal:
        read_context(path)
    assert str(path) in str(refusal.value)


def test_training_images_that_are_not_here_are_a_reservation(reports):
    assert context_findings(ContextConfig(training_images=24), 24) == []
    assert context_findings(ContextConfig(), 24) == []
    (finding,) = context_findings(ContextConfig(training_images=100), 24)
    assert finding.qualifies
    verdict = summary_of(reports, "without")["verdict"]
    assert any("trained on 100 images as stated, and 24 of them are here" in text for text in verdict["reservations"])


def test_each_question_has_its_answer_or_why_there_is_none(reports):
    found = questions_of(reports, "with")
    assert {name for name, row in found.items() if row["source"] == WP216} == {
        "Singling out",
        "Linkability",
        "Inference",
    }
    assert {name for name, row in found.items() if row["source"] == EDPB} == {
        "Regurgitation of training data", "Exfiltration", "Membership inference", "Attribute inference", "Model inversion",
        "Reconstruction attacks",
    }  # fmt: skip
    assert {name for name, row in found.items() if row["status"] == Status.NOT_TRIED} == {
        "Exfiltration", "Attribute inference", "Model inversion", "Reconstruction attacks", "Inference",
    }  # fmt: skip
    figures = summary_of(reports, "with")["figures"]
    copies = f"{figures['flagged_share']['count']} of 16 synthetic images"
    assert found["Regurgitation of training data"]["answer"].startswith(copies)
    assert "3 of them identical" in found["Regurgitation of training data"]["answer"]
    assert copies in found["Linkability"]["answer"]
    assert found["Membership inference"]["answer"].startswith("AUROC (0.5 is guessing) 0.")
    assert "random divisions of the training subjects reach 0." in found["Membership inference"]["answer"]
    assert "held-out subjects look copied" in found["Singling out"]["answer"]


@pytest.mark.parametrize("name", ["without", "few", "hidden"])
def test_without_usable_held_out_images_membership_is_not_answered(reports, name):
    found = questions_of(reports, name)
    summary = summary_of(reports, name)
    cannot_tell = summary["verdict"]["result"] == "cannot tell"
    assert (found["Regurgitation of training data"]["status"] == Status.IN_PART) == cannot_tell == (name != "without")
    if name == "few":  # one held-out subject: an attack, but no interval
        assert "no interval" in found["Membership inference"]["answer"]
        assert summary["further"]["membership"]["exceeds"] is None
        return
    assert found["Membership inference"]["status"] == Status.NOT_TRIED
    assert "how many would by chance is not known" in found["Singling out"]["answer"]


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_written_promises_what_no_audit_can(reports, name):
    for path in (reports / name).glob("*.*"):
        if path.is_file():
            written = pdf_text(path) if path.suffix == ".pdf" else path.read_text(encoding="utf-8")
            text = re.sub(r"(?:data:|base64,)[^\"']+", "", written)
            assert not CLAIMS.search(text), f"{path.name}: {CLAIMS.search(text)}"


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_shows_what_is_beyond_the_verdict(reports, name):
    page = (reports / name / "index.html").read_text()
    further = page[page.index('<section id="further">') : page.index('<section id="tests-run">')]
    order = [
        further.index(f'id="{part}"')
        for part in ("phantoms", "membership", "epsilon", "memorization-index", "fidelity")
    ]
    assert order == sorted(order)
    assert "A model that makes noise copies nobody, and does not pass for a good one." in further
    assert "style=" not in further
    assert "None" not in further
    for row in summary_of(reports, name)["tests"]:
        assert row["name"] in page[page.index('<section id="tests-run">') :]
    if name == "with":
        assert further.count("phantom</dfn>") == 1
        epsilon = summary_of(reports, name)["further"]["epsilon"]
        assert not epsilon["valid"]
        bound = (
            "which is indicative and no bound" if epsilon["ranked"]["epsilon"] else "<b>This attack shows nothing</b>"
        )
        assert bound in further
        assert "clears nobody" in further
    if name in ("without", "hidden"):
        assert further.count("Not known: there are no held-out images that could be used.") == 3


def test_the_page_shows_the_context_as_text(reports):
    page = (reports / "without" / "index.html").read_text()
    context = page[page.index('<section id="context">') :]
    assert "a &lt;b&gt;diffusion|model&lt;/b&gt;" in context
    assert "images, weights" in context
    assert "<em>not stated</em>" in context


def test_a_card_is_written_on_request_only(reports):
    assert not (reports / "without" / "card.md").exists()
    card = (reports / "with" / "card.md").read_text()
    assert "**Verdict: copies found" in card
    assert "| Auditor | *not stated* |" in card
    assert "| Constraint | Do they respect anatomy and physics? | *not tried* |" in card
    assert card.count("| not tried |") == 5
    tables = [line for line in card.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_a_card_gives_no_rates_where_the_audit_cannot_tell(reports, tmp_path):
    found = summary_of(reports, "with")
    found["verdict"]["result"] = "cannot tell"
    write_card(tmp_path / "card.md", found)
    card = (tmp_path / "card.md").read_text()
    assert card.count("*not known: the audit cannot tell*") == 3
    assert f"| synthetic images above the limit | {found['figures']['flagged_share']['count']} |" in card


def test_a_card_of_an_earlier_audit_does_not_stay(reports, tmp_path, capsys):
    folder, context = tmp_path / "report", tmp_path / "context.yaml"
    context.write_text("generator: 'a | b'\ntraining_images: 24\nparameters: 48")
    common = [
        "audit", str(reports / "real"), str(reports / "synthetic"), "--out", str(folder), "--compared-at", "64", "--cache",
        str(tmp_path / "cache"), "--fail-above", "1", "--subject-pattern", r"^([a-z]\d+)", "--threads", "1",
    ]  # fmt: skip
    config = tmp_path / "config.yaml"
    config.write_text("audit: {controls: 1, gallery: 3, borderline: 4, bootstrap: 50}")
    common += ["--config", str(config)]
    main([*common, "--card", "--context", str(context)])
    assert r"| Generator | a \| b |" in (folder / "card.md").read_text()
    assert "| Parameters per training image | 2 |" in (folder / "card.md").read_text()
    main(["show", str(folder)])
    assert str(folder / "card.md") in capsys.readouterr().out
    main(["verify", str(folder)])
    assert "all 8 results match" in capsys.readouterr().out
    (folder / "notes.md").write_text("of somebody else")
    main([*common, "--force"])
    assert (folder / "notes.md").exists()
    assert not (folder / "card.md").exists()
    main(["verify", str(folder)])
    assert "all 7 results match" in capsys.readouterr().out


def test_intervals_say_what_is_not_known():
    def interval(value, low, high):
        return {"value": value, "low": low, "high": high, "method": "too few"}

    assert rate_text(interval(0.5, 0.25, 0.75)) == "50.0 % (25.0 % to 75.0 %)"
    assert rate_text(interval(0.5, None, None)) == "50.0 % (no interval: too few)"
    assert rate_text(interval(None, 0, 1)) == "not known: too few"
    assert number_text(interval(None, 1.5, None)) == "at least 1.50"
    assert number_text(interval(2.0, 1.5, None)) == "2.00 (at least 1.50)"
    assert points_text(interval(-0.1, -0.2, 0.3)) == "-10.0 (-20.0 to +30.0) percentage points"
    assert points_text(interval(None, -1, 1)) == "not known: too few"
    assert (decimal(None), decimal(1234.5, 1)) == ("not known", "1,234.5")
    assert versus(None) == "not known"
    assert versus({"value": 0.5, "floor": 1.0}) == "0.500 (real images among each other: 1.000)"
    assert plain_markdown("a|b\n<i>*c*") == r"a\|b \<i\>\*c\*"
