"""Every sentence of a report follows from what was done: a matrix of audits, each of whose sentences is read.

    python -m tests.golden.sentences

renews the verdicts in words after they were changed on purpose.
"""

import json
import re

import pytest

from deepssim.audit.terms import terms
from deepssim.audit.units import SUBJECT
from deepssim.audit.wording import FEW, Circumstances, HoldoutUse
from deepssim.evaluation.intervals import percent
from tests.audit.test_summary_pdf import pdf_text
from tests.golden.sentences import CELLS, FILE, audit_cell, make_data, names_of, sentences, verdict_of

NO_HOLDOUT = re.compile(
    "no held-out images were given|none of the held-out images could be used|no held-out image is left", re.I
)
PEOPLE = re.compile(r"\bsubjects?\b|\d[^.;:,]* patients?\b")
TERMS = terms(Circumstances(HoldoutUse.USED, SUBJECT, 0.01, 0.01, 100))[0][1]  # the list of terms is one text
ADVICE = re.compile(
    r"images of \d+ or more other patients|at least \d+ patients|or of \d+ for a rate|--subjects?(-pattern)?\b"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module", params=CELLS, ids=" ".join)
def cell(request, place):
    """One audit: what was given, what summary.json holds, and the folder of the report."""
    found = audit_cell(place, *request.param)
    return request.param, found, place / "report" / "-".join(request.param)


def test_the_verdict_is_that_of_the_golden_file(cell):
    wanted = json.loads(FILE.read_text(encoding="utf-8"))
    assert verdict_of(cell[1]) == wanted[" ".join(cell[0])], "if that is meant, run `python -m tests.golden.sentences`"


def test_a_holdout_is_mentioned_as_it_was_used(cell):
    (holdout, _, _), found, folder = cell
    used = holdout in ("tiny", "good")
    texts = sentences(found, folder)
    assert found["rule"]["holdout"] == {
        "none": "not given", "unusable": "given, but none could be used",
    }.get(holdout, "used")  # fmt: skip
    for text in texts:
        if used:
            assert not NO_HOLDOUT.search(text)
        else:
            assert "quantile of the best scores of held-out" not in text
            assert not re.search(r"\d held-out (images|subjects|files)\b(?!.* left out)", text)
    given = "no held-out images were given" in " ".join(texts).lower()
    assert given is (holdout == "none")
    assert any("quantile of the best scores of held-out images" in text for text in texts) is used
    if not used:
        assert any(NO_HOLDOUT.search(text) for text in found["verdict"]["reservations"])


def test_patients_are_counted_only_where_they_are_known(cell):
    (_, patients, _), found, folder = cell
    texts = [ADVICE.sub("", text) for text in sentences(found, folder)]
    people = [text for text in texts if PEOPLE.search(text) and text != "subjects"]  # a column, "not known" below it
    if patients == "known":
        assert any("training subjects given are copied" in text for text in texts)
        assert not any("not known" in text and "atients" in text for text in texts)
        assert found["figures"]["subjects_copied"]["total"] == found["data"]["real"]["subjects"] == 12
    else:
        assert [text for text in people if TERMS not in text] == []
        assert any("patients are not known" in text for text in found["verdict"]["reservations"])
        assert found["figures"]["subjects_copied"] is found["data"]["real"]["subjects"] is None


def test_where_the_audit_cannot_tell_nothing_reads_as_a_rate_of_copies(cell):
    _, found, folder = cell
    page = (folder / "index.html").read_text(encoding="utf-8")
    first = re.sub("<[^>]+>", " ", page[page.index('<section id="result"') : page.index("</section>")])
    unsure = found["verdict"]["result"] == "cannot tell"
    assert ("not known how many of the synthetic images copy" in " ".join(first.split())) is unsure
    assert ("This result clears nothing: release neither the images nor the generator on it." in page) is unsure
    assert ('<th scope="row">less false alarms</th>' in page) is not unsure
    if unsure:
        assert not re.search(r"\d %[^.]* cop(y|ied)\b", first)
        assert "not called a copy" not in first


def test_the_first_sentence_says_that_the_requested_rate_cannot_be_promised(cell):
    _, found, _ = cell
    first = re.split(r"\. (?=[A-Z0-9])", found["verdict"]["sentence"])[0]
    promised, requested = found["rule"]["false_alarms_promised"], found["settings"]["audit"]["false_positive_rate"]
    number = found["rule"]["subjects"]
    assert promised == pytest.approx(max(requested, 1 / (number + 1)))
    short = promised > requested
    assert (f"{percent(promised)} at best, not the requested {100 * requested:g} %" in first) is short
    assert ("not the requested" in " ".join(found["verdict"]["reservations"])) is short
    if short:
        assert re.search(rf"\b{number} (held-out|training) (subject|image)s\b", first)


def test_numbers_are_those_of_the_tables(cell):
    (_, _, copies), found, folder = cell
    dropped, kept = names_of(folder / "drop.txt"), names_of(folder / "keep.txt")
    flagged = found["figures"]["flagged_share"]
    assert (len(dropped), len(dropped) + len(kept)) == (flagged["count"], flagged["total"])
    text = found["verdict"]["sentence"]
    if found["verdict"]["result"] == "no copies found":
        assert dropped == []
        assert f"None of {flagged['total']} " in text
    else:
        assert f"{flagged['count']} of {flagged['total']} synthetic images" in text
    identical = {"none": 0, "few": 1, "many": 12}[copies]
    assert found["figures"]["identical"] == identical
    if identical:
        assert f"{identical} {'is' if identical == 1 else 'are'} identical to a training image in every pixel" in text
        assert found["verdict"]["result"] == "copies found"
    else:
        assert "identical" not in text
    head = (folder / "keep.txt").read_text().splitlines()[0]
    assert head.startswith(f"# {len(kept)} of {flagged['total']} synthetic images that this audit does not call cop")
    assert "not promise" in head or "cannot tell" in head


def test_numbers_and_nouns_agree(cell):
    for text in sentences(cell[1], cell[2]):
        assert not re.search(
            r"(?<![\d.,-])1 (?:[a-z-]+ )?(images|subjects|files|copies|patients) ", re.sub(r"\d+ of 1 ", "", text)
        ), text
        assert not re.search(r"(?<![\d.,%])(?!1 )\b(\d+) (synthetic|training|held-out) (image|subject|file)\b", text), (
            text
        )
        assert not re.search(r"(?<![\d,. of])1 of \d+ [a-z -]*images (?:are|were)\b", text), text
        assert "None of 1 " not in text
        assert "nan" not in re.findall(r"\b\w+\b", text)


def test_a_rate_of_few_images_is_given_as_a_count(tmp_path, place):
    """One training image of which there is a copy: that is 1 of 1, and not 100 % of what a generator was trained on."""
    found = audit_cell(place, "none", "known", "one", out=tmp_path / "report")
    total = found["figures"]["training_copied"]["total"]
    assert total == 1 < FEW
    texts = [re.sub(r"\(.*?\)", "", text) for text in sentences(found, tmp_path / "report")]
    assert "only 1 training image was given" in " ".join(found["verdict"]["reservations"])
    assert not any(re.search(r"100 %[^.]* training (images|subjects)", text) for text in texts)
    assert any(re.match(r"1 of 1 ", text) and "training images given are copied" in text for text in texts)
    assert "The only synthetic image" not in found["verdict"]["sentence"]
    assert "1 of 2 synthetic images" in found["verdict"]["sentence"]


def test_a_repeated_audit_differs_in_its_date_only(place, tmp_path, monkeypatch):
    reports = []
    for number, seconds in enumerate((1_700_000_000, 1_800_000_000)):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(seconds))
        found = audit_cell(place, "tiny", "known", "few", out=tmp_path / str(number))
        files = {path.name: path.read_bytes().decode("latin-1") for path in (tmp_path / str(number)).glob("*.*")}
        files["summary.pdf"] = pdf_text(tmp_path / str(number) / "summary.pdf")
        assert all(found["identity"]["date"] in files[name] for name in ("index.html", "summary.json"))
        assert files["index.html"].count(found["identity"]["date"]) == 2
        reports.append({name: text.replace(found["identity"]["date"], "DATE") for name, text in files.items()})
    assert reports[0] == reports[1]
    assert len(reports[0]) == 7


def test_a_report_names_what_it_is_of(place, tmp_path):
    found = audit_cell(place, "tiny", "known", "few", out=tmp_path / "report")
    data = found["identity"]["data"]
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert {side: item["files"] for side, item in data.items()} == {"real": 24, "synthetic": 30, "holdout": 10}
    assert [item["name"] for item in data.values()] == ["real", "few", "tiny"]
    for item in data.values():
        assert re.fullmatch("[0-9a-f]{64}", item["sha256"])
        assert all(text in page for text in (item["folder"], item["sha256"]))
    hidden = audit_cell(place, "tiny", "known", "few", out=tmp_path / "hidden", de_identified=True)
    assert [item["sha256"] for item in hidden["identity"]["data"].values()] == [
        item["sha256"] for item in data.values()
    ]
    assert {(item["name"], item["folder"]) for item in hidden["identity"]["data"].values()} == {(None, None)}
    for path in (tmp_path / "hidden").glob("*.*"):
        text = pdf_text(path) if path.suffix == ".pdf" else path.read_text(encoding="utf-8")
        assert str(place) not in text
