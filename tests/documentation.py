"""The examples of the documentation: blocks of code, and commands in comments of config files and in running text."""

import re
import shlex
from dataclasses import dataclass
from hashlib import sha256

from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "config" / "README.md",
    ROOT / "results" / "README.md",
]
COMMENTED = [*sorted((ROOT / "config").glob("*.yaml")), *sorted((ROOT / "profiles").glob("*/config.yaml"))]
LANGUAGES = ("", "sh", "yaml", "python")  # output and diagrams have none

# Placeholders that cannot stay as they are.
_PLACEHOLDERS = {r"<file>": "results/eval/ssim.json", r" \.\.\.(?= |$)": ""}
_CHECKSUM = r"<SHA-256[^>]*>|\bSHA256\b"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A block, or one command.

    Attributes:
        place: file and line, for messages.
        text: the code; of a command one line, without its comment.
        language: what is written behind the opening fence.
    """

    place: str
    text: str
    language: str = "sh"

    @property
    def words(self) -> list[str]:
        """The words of a command, up to where it writes its output to a file."""
        words = shlex.split(self.text, comments=True)
        return words[: words.index(">")] if ">" in words else words


def blocks() -> list[Example]:
    """Return all fenced blocks."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(.*)\n([\s\S]*?)^```$", text, re.MULTILINE):
            place = f"{page.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}"
            found.append(Example(place=place, text=_filled(match[2]), language=match[1]))
    return found


def block_commands() -> list[Example]:
    """Return every command of the blocks of shell code."""
    return [
        Example(place=block.place, text=line.strip())
        for block in blocks()
        if block.language == "sh"
        for line in block.text.replace("\\\n", " ").splitlines()
        if shlex.split(line, comments=True)
    ]


def commented_commands() -> list[Example]:
    """Return the commands that comments of config files and profiles show."""
    return [
        Example(place=f"{path.relative_to(ROOT)}:{number}", text=found[1])
        for path in COMMENTED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := re.match(r"#  +((?:snakemake|deepssim) .*)", line))
    ]


def inline_commands() -> list[Example]:
    """Return the commands in running text that have arguments."""
    return [
        Example(place=str(page.relative_to(ROOT)), text=_filled(text))
        for page in PAGES
        for text in re.findall(r"(?<!`)`((?:snakemake|deepssim)\s[^`]+)`", page.read_text(encoding="utf-8"))
    ]


def _filled(text: str) -> str:
    for pattern, value in _PLACEHOLDERS.items():
        text = re.sub(pattern, value, text)
    return re.sub(_CHECKSUM, lambda found: sha256(found[0].encode()).hexdigest(), text)  # each another one
