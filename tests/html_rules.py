"""Rules of accessible pages that need no browser: landmarks, headings, tables, texts of pictures, contrast of colours."""

import itertools
import re
from html.parser import HTMLParser

_LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA


class _Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(page):
    """Return tag and attributes of every element, in order."""
    parser = _Elements()
    parser.feed(page)
    return parser.found


def faults(page):
    """Return what is wrong with a page, empty if nothing is."""
    found = elements(page)
    tags = [tag for tag, _ in found]
    ids = [attrs["id"] for _, attrs in found if "id" in attrs]
    wrong = []
    if not dict(found)["html"].get("lang"):
        wrong.append("no language")
    if tags.count("title") != 1 or tags.count("main") != 1 or tags.count("h1") != 1:
        wrong.append("not one title, main and h1")
    links = [attrs["href"][1:] for tag, attrs in found if tag == "a" and attrs["href"].startswith("#")]
    if not links or links[0] != "main":
        wrong.append("no skip link at the top")
    wrong += [f"link to nothing: {target}" for target in links if target not in ids]
    wrong += [f"id twice: {name}" for name in {name for name in ids if ids.count(name) > 1}]
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    wrong += [
        f"h{before} is followed by h{after}" for before, after in itertools.pairwise(levels) if after > before + 1
    ]
    wrong += ["th without scope" for tag, attrs in found if tag == "th" and attrs.get("scope") not in ("col", "row")]
    texts = [attrs.get("alt") for tag, attrs in found if tag == "img"]
    wrong += ["img without text" for text in texts if not text]
    wrong += [f"text of two pictures: {text}" for text in set(texts) if texts.count(text) > 1]
    wrong += [
        f"{tag} without a name"
        for tag, attrs in found
        if attrs.get("role") in ("region", "img") and not attrs.get("aria-label")
    ]
    classes = [(attrs.get("class", "").split(), attrs) for _, attrs in found]
    wrong += [
        "what scrolls is out of the keyboard's reach"
        for names, attrs in classes
        if "scroll" in names and attrs.get("tabindex") != "0"
    ]
    return wrong + _pale(page)


def _pale(page):
    """Return the text colours of the style sheet that have too little contrast on its grounds, in light, dark and print."""
    schemes = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-fA-F]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    ]
    assert len(schemes) == 3
    return [
        f"--{ink} on --{ground}: {contrast(colours[ink], colours[ground]):.1f}"
        for colours in schemes
        for ink in ("text", "soft", "link", "found", "unsure", "none")
        for ground in ("ground", "panel")
        if contrast(colours[ink], colours[ground]) < _LEAST_CONTRAST
    ]


def contrast(first, second):
    """Return the contrast of two sRGB colours, 1 to 21, as WCAG 2.2 defines it."""
    brighter, darker = sorted(map(_luminance, (first, second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def _luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
