"""Links of all pages lead somewhere: to files and headings of the repository, or have the form of an address on the web.

mkdocs checks the site alone; a workflow opens the addresses (.github/workflows/nightly.yml).
"""

import re
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", ".github/**/*.md", "config/**/*.md", "results/*.md", "benchmarks/**/*.md")
    for path in ROOT.glob(pattern)
)
# Files in which addresses stand by themselves.
BARE = [
    ROOT / "CITATION.cff",
    ROOT / "pyproject.toml",
    ROOT / "mkdocs.yml",
    *sorted((ROOT / ".github").rglob("*.yml")),
    *sorted((ROOT / "docs").glob("*.ipynb")),
]


def prose(text):
    """Return a page without blocks of code, and with the words of inline code left out."""
    text = re.sub(r"^( *)(```+|~~~+).*?^\1\2 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "`code`", text)


def links(text):
    """Return the targets of all links and pictures of a page."""
    text = prose(text)
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    references = re.findall(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", text, re.MULTILINE)
    tags = re.findall(r"<(?:a|img)\b[^>]*?\b(?:href|src)=[\"']([^\"']+)", text)
    return [*inline, *references, *tags, *re.findall(r"<(https?:[^>\s]+)>", text)]


def anchors(text):
    """Return the names of the places of a page that GitHub gives its headings, and those of its tags."""
    found = {}
    text = re.sub(r"^( *)(```+|~~~+).*?^\1\2 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)? *$", text, re.MULTILINE):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        count = found[slug] = found.get(slug, -1) + 1
        if count:
            found[f"{slug}-{count}"] = 0
    return {*found, *re.findall(r"<\w+[^>]*\b(?:id|name)=[\"']([^\"']+)", text)}


def fault(page, target):
    """Return what is wrong with a link, empty if nothing is."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target, re.IGNORECASE):
        return fault_of_address(target)
    path, _, anchor = target.partition("#")
    place = (page.parent / unquote(path)).resolve() if path else page
    if not place.is_relative_to(ROOT):
        return "leaves the repository"
    if not place.exists():
        return "no such file"
    if anchor and (place.suffix != ".md" or unquote(anchor) not in anchors(place.read_text(encoding="utf-8"))):
        return "no such heading"
    return ""


def fault_of_address(address):
    """Return what is wrong with the form of an address on the web, empty if nothing is."""
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        return "" if re.fullmatch(r"[^@\s]+@[\w-]+(\.[\w-]+)+", parts.path) else "not an address of e-mail"
    if parts.scheme != "https":
        return "not https"
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}", parts.netloc):  # no user, port or number of a machine
        return "not the name of a host"
    return "" if re.fullmatch(r"[\w\-./~%?=&#+:@,;()]*", address[len("https://") :]) else "has characters to be quoted"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    found = {target: fault(page, target) for target in links(page.read_text(encoding="utf-8"))}
    assert {target: wrong for target, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("path", BARE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_addresses_by_themselves_have_their_form(path):
    found = re.findall(r"\b[a-z]+://[^\s\"'<>`|)\\]+", path.read_text(encoding="utf-8"))
    found = {
        address.rstrip(".,;:"): fault_of_address(address.rstrip(".,;:")) for address in found if "${{" not in address
    }
    assert {address: wrong for address, wrong in found.items() if wrong} == {}


def test_pages_and_links_are_found():
    assert {"README.md", "CONTRIBUTING.md", "PULL_REQUEST_TEMPLATE.md", "audit.md"} <= {path.name for path in PAGES}
    assert sum(len(links(page.read_text(encoding="utf-8"))) for page in PAGES) > 100


PAGE = """
# A page & more: `code`
See [one](b.md#there), [two](b.md "title"), ![picture](<p.png>), <a href="c.md">three</a>, <https://a.org/b>.
`[not](a-link.md)`

```md
[not](a-link.md)
# Not a heading
```
## Again
## Again
<a id="own"></a>

[ref]: https://example.org/x "title"
"""


def test_links_and_headings_of_a_page():
    assert sorted(links(PAGE)) == sorted(
        ["b.md#there", "b.md", "p.png", "c.md", "https://a.org/b", "https://example.org/x"]
    )
    assert anchors(PAGE) == {"a-page--more-code", "again", "again-1", "own"}


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        ("formats.md", ""), ("../README.md", ""), ("audit.md#controls", ""), ("#controls", ""), ("appendix/", ""),
        ("none.md", "no such file"), ("audit.md#none", "no such heading"), ("#none", "no such heading"),
        ("../LICENSE#1", "no such heading"), ("../../other.md", "leaves the repository"),
        ("http://example.org", "not https"), ("ftp://example.org/x", "not https"),
        ("https://user@example.org", "not the name of a host"), ("https://10.0.0.1/x", "not the name of a host"),
        ("https://localhost:80/", "not the name of a host"), ("https://example.org/a|b", "has characters to be quoted"),
        ("https://example.org/a_(b)?c=d#e", ""), ("mailto:someone", "not an address of e-mail"), ("mailto:a@b.org", ""),
    ],
)  # fmt: skip
def test_faults_of_links(target, wrong):
    assert fault(ROOT / "docs" / "audit.md", target) == wrong
