"""Words of an audit of whole volumes: sentences and templates speak of images, and of scans where scans are compared.

Not here: the sentences (wording.py, phrases.py), how numbers are counted (units.py).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from deepssim.config.choices import AuditUnit

# Not within names of files, entries or settings, such as `image_3.nii`, `figures.images` and `--image-size`, nor tags.
_WORD = re.compile(r"(?<![\w/#.\-<])(an |An )?([Ii]mage|every [Pp]ixel)(s?)(?![\w-]|\.\w)")
_UNCHANGED = (
    "verdict",
    "subjects",
    "identity",
    "data",
    "settings",
    "context",
    "readers",
    "stability",
    "encoder",
    "versions",
)
_PROSE = ("message", "kind")  # of findings, whose items are names


def said(text: str, unit: AuditUnit) -> str:
    """Return a sentence about images as one about what is compared.

    Args:
        text: without names of files.
        unit: image or volume.
    """
    return _of_scans(text) if unit is AuditUnit.VOLUME else text


def _of_scans(text: str) -> str:
    def word(match: re.Match[str]) -> str:
        article, name, plural = match.groups()
        if name.lower().startswith("every"):
            return f"{article or ''}every voxel{plural}"
        before = {"an ": "a ", "An ": "A "}.get(article or "", "")
        return f"{before}{'Scan' if name[0] == 'I' else 'scan'}{plural}"

    return _WORD.sub(word, text)


def summary_said(summary: dict[str, Any], unit: AuditUnit) -> dict[str, Any]:
    """Return a summary whose sentences speak of what is compared; names of files, subjects and settings stay.

    Args:
        summary: plain values as in summary.json.
        unit: image or volume.
    """
    if unit is not AuditUnit.VOLUME:
        return summary
    found = {name: value if name in _UNCHANGED else _every(value) for name, value in summary.items()}
    findings = summary.get("preflight", [])
    found["preflight"] = [item | {name: _of_scans(item[name]) for name in _PROSE} for item in findings]
    return found


def _every(value: Any) -> Any:
    """Translate all text of nested values, but not the names of entries."""
    if isinstance(value, str):
        return _of_scans(value)
    if isinstance(value, Mapping):
        return {name: _every(item) for name, item in value.items()}
    return [_every(item) for item in value] if isinstance(value, list) else value


class ScanWords(Extension):
    """Makes templates speak of scans: the text around their expressions and the text within them."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Yield the tokens of a template; programs and style sheets stay as they are."""
        program = str(stream.name or "").endswith((".js", ".css"))
        for token in stream:
            if token.type == "data" and not program:
                yield Token(token.lineno, token.type, _outside_programs(token.value))
            elif token.type == "string" and token.value != AuditUnit.IMAGE and not program:
                yield Token(token.lineno, token.type, _of_scans(token.value))
            else:
                yield token


def _outside_programs(text: str) -> str:
    parts = re.split(r"(<script>.*?(?:</script>|$)|<style>.*?(?:</style>|$))", text, flags=re.DOTALL)
    return "".join(part if number % 2 else _of_scans(part) for number, part in enumerate(parts))


def extensions(unit: AuditUnit) -> list[type[Extension]]:
    """Return what the environment of templates needs for a unit.

    Args:
        unit: image or volume.
    """
    return [ScanWords] if unit is AuditUnit.VOLUME else []
