"""What lies in a folder: every file is to be read, is left out for a stated reason, or cannot be read.

A program that passes over a file in silence clears what it never looked at. Nothing is therefore left out by its extension
alone: a file of unknown kind counts as unread unless its content is plain text.

Not here: what is plain text (texts.py), reading files (files.py), the images of a folder (folders.py), what unread files mean
for a verdict (audit/).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from wcmatch import glob

from deepssim.errors import DataError, quoted
from deepssim.images.files import Format, format_of
from deepssim.images.texts import why_not_text

ALL_FILES = ("**/*",)
HIDDEN_IMAGES = "hidden, and an image or a folder of images"
EXCLUDED = "excluded by pattern"

_FLAGS = glob.GLOBSTAR | glob.DOTGLOB | glob.BRACE
_ANYWHERE = _FLAGS | glob.MATCHBASE  # a pattern without a slash fits the name at any depth, as in .gitignore
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", ".ds_store"}
_PREVIEW_FOLDERS = {"@eadir", "__macosx", ".thumbnails"}
# Hidden folders of other programs, whose images, if any, are those that are listed.
_STORES = {".git", ".svn", ".hg", ".datalad", ".dvc", ".deepssim-cache"}
_MOST_HIDDEN = 10_000  # files of a hidden folder that are looked at
_HEAD = 4096  # bytes by which a text is recognised


class Status(StrEnum):
    """What becomes of a file."""

    READ = "read"
    LEFT_OUT = "left out"
    NOT_READ = "not read"


@dataclass(frozen=True, slots=True)  # of a million files
class Entry:
    """A file or link below a folder, or a folder that is not entered.

    Attributes:
        path: of the file.
        name: path below the folder, with slashes and every character printable.
        status: what becomes of it.
        reason: why it is not read; empty otherwise.
    """

    path: Path
    name: str
    status: Status
    reason: str = ""


def list_folder(
    root: Path,
    *,
    patterns: Sequence[str] = ALL_FILES,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    formats: Sequence[Format] | None = None,
) -> list[Entry]:
    """Account for every file below a folder; links to folders are entered, each folder once.

    Args:
        root: the folder.
        patterns: glob patterns relative to the folder; a file must match one of them.
        include, exclude: further glob patterns of files to read, and of files to leave out. A pattern without a slash
            matches names at any depth.
        formats: formats to read; all unless given.

    Returns:
        The files, sorted by path.

    Raises:
        DataError: if the folder does not exist or a pattern is not usable.
    """
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder")
    require_patterns([*patterns, *include, *exclude], str(root))
    every = tuple(patterns) == ALL_FILES and not include

    def wanted(entry: Entry) -> bool:
        if exclude and glob.globmatch(entry.name, list(exclude), flags=_ANYWHERE):
            return False
        if every or entry.path.is_dir():  # a folder that cannot be opened may hold files that are included
            return True
        return (tuple(patterns) == ALL_FILES or glob.globmatch(entry.name, list(patterns), flags=_FLAGS)) and (
            not include or glob.globmatch(entry.name, list(include), flags=_ANYWHERE)
        )

    entries = []
    for found in _walk(root):
        entry = _classified(found, formats) if found.status is Status.READ else found
        if entry.status is not Status.LEFT_OUT and not wanted(entry):
            entry = Entry(entry.path, entry.name, Status.LEFT_OUT, EXCLUDED)
        entries.append(entry)
    return sorted(entries, key=lambda entry: entry.path)


def path_below(root: Path, path: Path) -> str:
    """Return the path of a listed file relative to its folder, with slashes and every character printable."""
    return printable("/".join(path.parts[len(root.parts) :]))


def printable(name: str) -> str:
    """Return a name with escapes such as `\\xe9` or `\\n` for bytes that are not UTF-8 and for control characters.

    Tables, JSON and HTML could not hold the former, and the latter would break their lines.
    """
    if name.isprintable():  # false for undecodable bytes, which Python keeps as lone surrogates
        return name
    return "".join(_escaped(character) for character in name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python's file system encoding keeps a byte that it cannot decode
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F or 0xD800 <= code <= 0xDFFF:
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character


def _walk(root: Path) -> Iterator[Entry]:
    """Yield all files of a tree as to be read, and what cannot be entered or is hidden with its reason."""
    linked: list[Path] = []  # entered last, so that a folder is listed where it lies and not where a link shows it
    seen: set[tuple[int, int]] = set()
    folders = [root]
    while folders or linked:
        if not folders:
            folders = [linked.pop(0)]
        folder = folders.pop()
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in seen:
                yield _entry(root, folder, Status.LEFT_OUT, "link to a folder that is listed already")
                continue
            seen.add(identity)
            with os.scandir(folder) as content:
                children = sorted(content, key=lambda child: child.name)
        except OSError as error:
            yield _entry(root, folder, Status.NOT_READ, f"folder cannot be opened ({error.strerror})")
            continue
        for child in children:
            path = folder / child.name
            reason = _reason(child, path)
            if reason:
                yield _entry(root, path, *reason)
            elif child.is_dir():
                (linked if child.is_symlink() else folders).append(path)
            else:
                yield _entry(root, path, Status.READ)


def _reason(child: "os.DirEntry[str]", path: Path) -> tuple[Status, str] | None:
    """Return why a file or folder is not read as such, if that does not depend on its content."""
    name = child.name.lower()
    if name in _SYSTEM_FILES:
        return Status.LEFT_OUT, "file of the operating system"
    if name in _PREVIEW_FOLDERS:
        return Status.LEFT_OUT, "folder of previews"
    if name.startswith(".") and name.endswith(".icloud"):
        return Status.NOT_READ, "a placeholder of iCloud, whose content is not here; download it"
    if name.startswith("."):
        return Status.LEFT_OUT, HIDDEN_IMAGES if _hides_images(path) else "hidden"
    if child.is_symlink() and not path.exists():
        return Status.NOT_READ, _dangling(path)
    if not (child.is_file() or child.is_dir()):
        return Status.LEFT_OUT, "neither a file nor a folder"
    return None


def _hides_images(path: Path) -> bool:
    """Return whether a hidden file or folder is or holds an image; `._x` is what macOS stores beside a file."""
    if path.name.lower() in _STORES:
        return False
    try:
        if not path.is_dir():
            return path.is_file() and not path.name.startswith("._") and format_of(path) is not None
        inside = (child for child in islice(path.rglob("*"), _MOST_HIDDEN) if child.is_file())
        return any(not child.name.startswith("._") and format_of(child) is not None for child in inside)
    except (DataError, OSError):
        return True  # nothing is known about it


def _dangling(path: Path) -> str:
    target = str(path.readlink())
    if ".git/annex/" in target:
        return "link of git-annex whose content is not here; fetch it with `git annex get`"
    return "link to a file that does not exist"


def _classified(found: Entry, formats: Sequence[Format] | None) -> Entry:
    """Return the entry of a file with what its name and first bytes say about it."""
    try:
        known = format_of(found.path)
        if known is not None:
            if formats is not None and known not in formats:
                return Entry(found.path, found.name, Status.LEFT_OUT, f"a file of another kind ({known.name})")
            return found
        with found.path.open("rb") as file:
            head = file.read(_HEAD)
        reason = why_not_text(found.path, head)
    except (DataError, OSError) as error:
        return Entry(found.path, found.name, Status.NOT_READ, f"cannot be opened ({getattr(error, 'strerror', error)})")
    if not head:
        return Entry(found.path, found.name, Status.LEFT_OUT, "empty file of no known format")
    if reason:
        return Entry(found.path, found.name, Status.NOT_READ, reason)
    return Entry(found.path, found.name, Status.LEFT_OUT, "table or text")


def _entry(root: Path, path: Path, status: Status, reason: str = "") -> Entry:
    return Entry(path, path_below(root, path) or ".", status, reason)


def require_patterns(patterns: Sequence[str], place: str) -> None:
    """Check that glob patterns are relative to a folder.

    Args:
        patterns: to check.
        place: the folder, for messages.

    Raises:
        DataError: naming the first that is empty or absolute.
    """
    for pattern in patterns:
        if not pattern or pattern.startswith("/"):
            raise DataError(
                f"{place}: cannot be searched for {quoted(pattern)}; patterns are relative to the folder, for example '**/*_T1*'"
            )
