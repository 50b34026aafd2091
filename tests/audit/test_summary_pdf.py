"""One page to print says what the page says first, whatever its length."""

import re
import zlib

import numpy as np
import pytest

from deepssim.audit.gallery import picture_uri
from deepssim.audit.summary_pdf import write_pdf

PICTURE = picture_uri(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))


def page(reservation="A reservation.", pairs=6, name="a.png"):
    shown = "".join(
        f'<li><a href="#pair-{number}"><img src="{PICTURE}" alt="t"><img src="{PICTURE}" alt="s"></a><b>{number}</b> {name}</li>'
        for number in range(pairs)
    )
    return (
        '<title>x</title><section id="result"><h1>A question?</h1><div class="verdict none"><strong>No copies found</strong> None of '
        f'$5 images_were^.</div><p class="reservation">{reservation}</p><div class="numbers"><div class="number"><b>3 %</b> of all '
        f'<small>1 to 9 %</small></div></div><h2>Limits</h2><ul><li>One.</li></ul><h2>Pairs</h2><ul class="six">{shown}</ul></section>'
        "<p>Depth.</p>"
    )


def pdf_text(path):
    """Return the text that a PDF shows, with kerned letters joined."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", path.read_bytes(), re.DOTALL)
    shown = b"".join(zlib.decompress(part) for part in streams if part.startswith(b"x"))
    return (
        b"".join(re.findall(rb"\(((?:\\.|[^()\\])*)\)", shown)).replace(b"\x00", b"").decode("latin-1")
    )  # two bytes a letter


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Return a function that writes a PDF and returns its lines with their lowest place, and its pictures."""
    from matplotlib.figure import Figure

    def write(text):
        lines, axes = [], []
        for name, kept in (("text", lines), ("add_axes", axes)):
            real = getattr(Figure, name)

            def record(self, *arguments, real=real, kept=kept, **options):
                kept.append(arguments)
                return real(self, *arguments, **options)

            monkeypatch.setattr(Figure, name, record)
        write_pdf(tmp_path / "summary.pdf", text)
        monkeypatch.undo()
        return lines, axes

    return write


def test_it_has_the_verdict_the_limits_and_the_pairs_on_one_page(tmp_path, drawn):
    lines, axes = drawn(page())
    written = [line for _, _, line in lines]
    for text in (
        "A question?",
        "No copies found",
        "None of $5 images_were^.",
        "!  A reservation.",
        "•  3 % of all; 1 to 9 %",
        "•  One.",
    ):
        assert text in written
    assert not any("Depth" in line for line in written)
    assert len(axes) == 12
    assert "No copies found" in pdf_text(tmp_path / "summary.pdf")
    content = (tmp_path / "summary.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    write_pdf(tmp_path / "again.pdf", page())
    assert (tmp_path / "again.pdf").read_bytes() == content


@pytest.mark.parametrize(("words", "cut"), [(10, False), (250, False), (5000, True)])
def test_text_stays_above_the_pairs(drawn, words, cut):
    lines, axes = drawn(page("A long reservation, and more. " * words))
    places = [place for _, place, line in lines if "a.png" not in line]
    highest = max(box[1] + box[3] for (box,) in axes)
    assert min(places) > highest
    assert any("continued in index.html" in line for _, _, line in lines) == cut


def test_fewer_pairs_and_foreign_letters(tmp_path, drawn):
    lines, axes = drawn(page(pairs=1, name="\N{CJK UNIFIED IDEOGRAPH-4E00}.png"))
    assert len(axes) == 2
    assert "\N{REPLACEMENT CHARACTER}.png" in lines[-1][2]
