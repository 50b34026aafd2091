"""Which texts, tables and pointers may hold or stand for an image, so that they are not passed over as mere text.

Not here: which files a folder holds (listing.py), formats of images (files.py).
"""

import re
import zipfile
from itertools import pairwise
from pathlib import Path

# Of tables and texts that hold no image unless their content says so.
DOCUMENTS = (
    ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".txt", ".md", ".rst", ".html", ".htm", ".log", ".ini", ".toml",
    ".py", ".ipynb", ".sh", ".bval", ".bvec",
)  # fmt: skip
OFFICE = (".xls", ".xlsx", ".ods", ".doc", ".docx", ".odt")
_PLAIN = (".bval", ".bvec", ".py", ".sh")  # of which the first two hold long rows of numbers by nature
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
_HEADS = (b"%!PS", b"SIMPLE  =", b"# vtk DataFile", b"/* XPM", b"<VTKFile", b'<?xml version="1.0"?>\n<VTKFile')
_PNM = re.compile(rb"P[123]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s")
_PICKLED = (".pkl", ".pickle")  # whose oldest protocol is text
# Each begins at the first of such characters or lines only, or a search would take the square of their number.
_ENCODED = re.compile(
    rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{1000}"
)  # base64 of an image; no word, path or checksum is so long
_LINES = re.compile(rb"^(?:[A-Za-z0-9+/]{60,80}\r?\n){64}", re.MULTILINE)  # the same, in lines; keys are shorter
_NUMBER = re.compile(rb"-?\.?\d[\d.]*(?:[eE][+-]?\d+)?")
_SEPARATORS = re.compile(rb"[\s,;\[\]]+")
_LEAST_PIXELS = 784  # numbers in a row: an image of 28x28
_LEAST_COLUMNS = 32  # of a table without words: an image as a matrix
_BLOCK, _MOST_BLOCKS = 2**22, 16  # bytes read at once, and blocks
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def pointer(head: bytes) -> str:
    """Say of the first bytes of a file to which content, which is not here, it points; empty for other files."""
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a pointer of Git LFS, whose content is not here; fetch it with `git lfs pull`"
    if head.startswith(b"/annex/objects/"):
        return "a pointer of git-annex, whose content is not here; fetch it with `git annex get`"
    return ""


def why_not_text(path: Path, head: bytes) -> str:
    """Return why a file of no known format may hold or stand for an image; empty for plain tables and texts.

    Args:
        path: of the file.
        head: its first bytes, up to 4096.

    Raises:
        OSError: if it cannot be read further.
    """
    name, suffix = path.name.lower(), path.suffix.lower()
    unknown = f"unknown format{f' ({suffix})' if suffix.isprintable() and suffix else ''}"
    if found := pointer(head):
        return found
    if suffix == ".dvc" and not path.with_suffix("").exists():
        return "a pointer of DVC, whose content is not here; fetch it with `dvc pull`"
    if name.endswith(OFFICE):
        return "document with pictures" if _has_pictures(path) else ""
    if b"\0" in head and not head.startswith(_UTF16):
        return unknown
    if not name.endswith(DOCUMENTS) and not _is_text(head):
        return unknown
    if name.endswith(_PICKLED) or head.startswith(_HEADS) or _PNM.match(head):
        return unknown
    return "" if name.endswith(_PLAIN) else _dense(path)


def _dense(path: Path) -> str:
    """Say if a text holds base64 or numbers as an image would."""
    wide = False  # UTF-16, of which plain numbers have every other byte 0
    with path.open("rb") as file:
        for number in range(_MOST_BLOCKS):
            block = file.read(_BLOCK)
            if not block:
                break
            if block.startswith(_UTF16) or wide:
                wide, block = True, block.removeprefix(block[:2] if number == 0 else b"").replace(b"\0", b"")
            if _ENCODED.search(block) or _LINES.search(block):
                return "text with encoded data, which may be an image"
            if (number == 0 and _is_matrix(block)) or _has_pixels(block, path):
                return "text with as many numbers in a row as an image has"
    return ""


def _is_matrix(block: bytes) -> bool:
    """Return whether the first two lines hold nothing but many numbers, and equally many."""
    counts = []
    for line in block.split(b"\n", 2)[:2]:
        fields = _fields(line)
        counts.append(len(fields) if all(map(_NUMBER.fullmatch, fields)) else 0)
    return len(counts) == 2 and counts[0] == counts[1] >= _LEAST_COLUMNS


def _has_pixels(block: bytes, path: Path) -> bool:
    # Lists of JSON may have a line for every number.
    lines = [block] if path.suffix.lower() in (".json", ".jsonl") else block.split(b"\n")
    for line in lines:
        if len(line) < 2 * _LEAST_PIXELS:
            continue
        fields = _fields(line)
        ends = [-1, *(index for index, field in enumerate(fields) if not _NUMBER.fullmatch(field)), len(fields)]
        if any(stop - start > _LEAST_PIXELS for start, stop in pairwise(ends)):
            return True
    return False


def _fields(line: bytes) -> list[bytes]:
    return [field for field in _SEPARATORS.split(line) if field]


def _has_pictures(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(_PICTURES) for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError):
        return False


def _is_text(head: bytes) -> bool:
    if head.startswith(_UTF16):
        return True
    try:
        # The last character may be cut off, and takes at most four bytes.
        head[: max(len(head) - 3, 1) if len(head) == 4096 else len(head)].decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True
