"""Image keys, `<image_uid>___<file name without extension>`, which identify images in every array and table.

Source: file formats of the DeepSSIM reference code (arXiv:2509.16582).
"""

import re
from collections.abc import Iterable, Sequence

from deepssim.errors import DataError

SEPARATOR = "___"
REAL_NAME = "training"
SYNTHETIC_NAME = "gen-{index}"
PLANTED_NAME = "planted-{index}"

PER_FOLDER = 5_000
"""Synthetic images of a record in one folder of a tree; file systems and browsers are slow with folders of many more."""

_UNSAFE = re.compile(r"[/\\\x00-\x1f]|___|^\.{1,2}$|^$")


def real_key(image_uid: str) -> str:
    """Return the key of the real image of a record."""
    return f"{checked_uid(image_uid)}{SEPARATOR}{REAL_NAME}"


def synthetic_key(image_uid: str, index: int) -> str:
    """Return the key of a synthetic image.

    Args:
        image_uid: record that it is generated from.
        index: number of the image among those of the record, from 0.
    """
    return f"{checked_uid(image_uid)}{SEPARATOR}{SYNTHETIC_NAME.format(index=index)}"


def planted_key(image_uid: str, index: int) -> str:
    """Return the key of a planted copy.

    Args:
        image_uid: record of the image that it copies.
        index: number of the copy among those of the record, from 0.
    """
    return f"{checked_uid(image_uid)}{SEPARATOR}{PLANTED_NAME.format(index=index)}"


def split_key(key: str) -> tuple[str, str]:
    """Return image uid and file name (without extension) of a key.

    Raises:
        DataError: if it is not a key, or its path would lie outside the images folder.
    """
    image_uid, separator, name = key.rpartition(SEPARATOR)
    if not separator or _UNSAFE.search(name):
        raise DataError(f"{key!r} is not an image key; expected <image_uid>{SEPARATOR}<file name without extension>")
    return checked_uid(image_uid), name


def further_folder(name: str) -> str:
    """Return the folder, inside that of the record, that the image of a name belongs in.

    Args:
        name: file name without extension.

    Returns:
        Empty for the real image and the first 5,000 synthetic ones; then `gen-from-00005000` and so on.
    """
    found = re.fullmatch(r"gen-(\d+)", name)
    number = int(found[1]) // PER_FOLDER * PER_FOLDER if found else 0
    return f"gen-from-{number:08d}" if number else ""


def is_further_folder(folder: str) -> bool:
    """Return whether a folder has the name of one that `further_folder` returns."""
    return re.fullmatch(r"gen-from-\d{8,}", folder) is not None


def checked_uid(image_uid: str) -> str:
    """Return an image uid unchanged if it can name a folder and be part of a key.

    Raises:
        DataError: if its path would lie outside the images folder, or a key with it could not be split.
    """
    if _UNSAFE.search(image_uid):
        raise DataError(
            f"image_uid {image_uid!r} cannot name a folder; use a name without '/', '\\', '{SEPARATOR}' and control "
            "characters, other than '.' and '..'"
        )
    return image_uid


def checked_keys(keys: Sequence[str], source: str) -> list[str]:
    """Return keys unchanged if all are valid.

    Args:
        keys: image keys, for example of a file.
        source: name of the file, for messages.

    Raises:
        DataError: if `split_key` rejects a key.
    """
    reasons = []
    for key in keys:
        try:
            split_key(key)
        except DataError as error:
            reasons.append(str(error))
    if reasons:
        raise DataError(f"{source}: {len(reasons)} of {len(keys)} keys cannot be used, first: {reasons[0]}")
    return list(keys)


def require_unique(keys: Iterable[str], source: str) -> None:
    """Check that no key occurs twice.

    Args:
        keys: image keys.
        source: name of their file, for messages.

    Raises:
        DataError: if a key occurs more than once.
    """
    seen: set[str] = set()
    repeated = [key for key in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    if repeated:
        raise DataError(
            f"{source}: {len(repeated)} image keys occur more than once, first {repeated[0]!r}; rename these images"
        )
