"""One page to print: what the page of an audit says first, its verdict, limits and six pairs, as PDF.

Its text is taken from the page, so that both say the same.

Not here: the page (page.py).
"""

import base64
import io
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

_WIDTH, _HEIGHT, _MARGIN = 8.27, 11.69, 0.5  # inches, A4
_PAIRS_HEIGHT = 3.7  # inches at the foot
_SIZES = (10.5, 10, 9.5, 9, 8.5, 8, 7.5, 7, 6.5, 6, 5.5)  # points, in turn until the text fits
_CHARACTER = 0.56  # mean width of a character of DejaVu Sans, in its size
_SPACING = 1.3  # of lines
_CAPTION = 6.0  # points, below pairs
_SHOWN = {"h1": (1.5, "bold"), "strong": (1.6, "bold"), "h2": (1.15, "bold")}  # relative size and weight
_BLOCKS = ("h1", "h2", "strong", "div", "p", "li")


class Block(NamedTuple):
    """A heading, paragraph or item of a list.

    Attributes:
        kind: class of the element, or its tag.
        text: in one line.
    """

    kind: str
    text: str


class _First(HTMLParser):
    """Collect text and pictures of the section with the id `result`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self.pictures: list[str] = []
        self._inside = False
        self._kinds: list[str] = []
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "section":
            self._inside = found.get("id") == "result"
        elif self._inside and tag == "img":
            self.pictures.append(found["src"] or "")
        elif self._inside and tag in _BLOCKS:
            self._finish()
            self._kinds.append(found.get("class") or tag)
        elif tag == "small":
            self._text = f"{self._text.rstrip()}; "

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS and self._inside:
            self._finish()
            self._kinds.pop()
        elif tag == "section":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self._text += data

    def _finish(self) -> None:
        text = " ".join(self._text.split()).rstrip("; ")
        if text and self._kinds:
            self.blocks.append(Block(self._kinds[-1], text))
        self._text = ""


def write_pdf(path: str | Path, page: str) -> None:
    """Write the first section of a page as one sheet of A4.

    Args:
        path: PDF to write.
        page: HTML of the audit's page.
    """
    section = _First()
    section.feed(page)
    captions = section.blocks[-(len(section.pictures) // 2) :]
    text = section.blocks[: -len(captions)]
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    _write_text(figure, [Block(kind, _drawable(part)) for kind, part in text])
    for place, caption in enumerate(captions):
        _draw_pair(figure, place, section.pictures[2 * place : 2 * place + 2], _drawable(caption.text))
    # Without a date the same audit gives the same file; letters stay letters, which can be searched and read aloud.
    with mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(path, format="pdf", metadata={"CreationDate": None, "Title": text[0].text})


def _write_text(figure: Figure, blocks: list[Block]) -> None:
    """Write blocks from the top, as large as they fit above the pairs; what fits at no size is left to the page."""
    room = _HEIGHT - 2 * _MARGIN - _PAIRS_HEIGHT
    for size in _SIZES:
        lines = [line for block in blocks for line in _lines(block, size)]
        if sum(_SPACING * scale * size / 72 for _, scale, _ in lines) <= room:
            break
    top = _HEIGHT - _MARGIN
    for number, (line, scale, weight) in enumerate(lines):
        top -= _SPACING * scale * size / 72
        if top < _MARGIN + _PAIRS_HEIGHT + size / 72 and number + 1 < len(lines):
            line, scale, weight = "… continued in index.html", 1.0, "bold"
        figure.text(_MARGIN / _WIDTH, top / _HEIGHT, line, fontsize=scale * size, fontweight=weight, parse_math=False)
        if line.startswith("… continued"):
            break


def _lines(block: Block, size: float) -> list[tuple[str, float, str]]:
    """Return the lines of a block with relative size and weight of the letters."""
    scale, weight = _SHOWN.get(block.kind, (1.0, "normal"))
    width = int((_WIDTH - 2 * _MARGIN) * 72 / (size * scale * _CHARACTER))
    first = {"li": "•  ", "number": "•  ", "reservation": "!  "}.get(block.kind, "")
    lines = textwrap.wrap(block.text, width, initial_indent=first, subsequent_indent=" " * len(first))
    space = [("", 0.5, "normal")] if block.kind in ("h2", "verdict none", "verdict found", "verdict unsure") else []
    return [*space, *((line, scale, weight) for line in lines)]


def _draw_pair(figure: Figure, place: int, pictures: list[str], caption: str) -> None:
    column, row = place % 3, place // 3
    cell, height = (_WIDTH - 2 * _MARGIN) / 3, _PAIRS_HEIGHT / 2
    left, bottom = _MARGIN + column * cell, _MARGIN + (1 - row) * height
    side = cell / 2 - 0.06
    for number, uri in enumerate(pictures):
        axis = figure.add_axes(
            (
                (left + number * (side + 0.03)) / _WIDTH,
                (bottom + height - side - 0.05) / _HEIGHT,
                side / _WIDTH,
                side / _HEIGHT,
            )
        )
        content = base64.b64decode(uri.partition(",")[2])
        axis.imshow(np.asarray(Image.open(io.BytesIO(content)).convert("L")), cmap="gray", vmin=0, vmax=255)
        axis.set_axis_off()
    lines = textwrap.wrap(caption, int((cell - 0.1) * 72 / (_CAPTION * _CHARACTER)), max_lines=5, placeholder=" …")
    figure.text(left / _WIDTH, (bottom + height - side - 0.09) / _HEIGHT, "\n".join(lines), fontsize=_CAPTION, va="top",
                parse_math=False)  # fmt: skip


def _drawable(text: str) -> str:
    """Return text with a mark in place of characters that the font lacks."""
    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in known else "\N{REPLACEMENT CHARACTER}" for letter in text)
