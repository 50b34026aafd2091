"""Image keys: `<image_uid>___<file name without extension>`, the name that travels with every array.

Source: file formats of the DeepSSIM reference code (arXiv:2509.16582).
"""

import re
from collections.abc import Iterable, Sequence

from deepssim.errors import DataError

SEPARATOR = "___"
REAL_NAME = "training"
SYNTHETIC_NAME = "gen-{index}"

_UNSAFE = re.compile(r"[/\\\x00-\x1f]|___|^\.{1,2}$|^$")


def real_key(image_uid: str) -> str:
    """Return the key of the real image of a record."""
    return f"{checked_uid(image_uid)}{SEPARATOR}{REAL_NAME}"


def synthetic_key(image_uid: str, index: int) -> str:
    """Return the key of the synthetic image number `index` (from 0) generated from a record."""
    return f"{checked_uid(image_uid)}{SEPARATOR}{SYNTHETIC_NAME.format(index=index)}"


def split_key(key: str) -> tuple[str, str]:
    """Return image uid and file name (without extension) of a key.

    Raises:
        DataError: if it is not a key, or would lead out of the images folder.
    """
    image_uid, separator, name = key.rpartition(SEPARATOR)
    if not separator or _UNSAFE.search(name):
        raise DataError(f"{key!r} is not an image key; expected <image_uid>{SEPARATOR}<file name without extension>")
    return checked_uid(image_uid), name


def checked_uid(image_uid: str) -> str:
    """Return the uid unchanged if it is usable as a folder name and inside a key.

    Raises:
        DataError: if it could leave the images folder or hide where the key is split.
    """
    if _UNSAFE.search(image_uid):
        raise DataError(
            f"image_uid {image_uid!r} cannot name a folder; use a name without '/', '\\', '{SEPARATOR}' and control "
            "characters, other than '.' and '..'"
        )
    return image_uid


def checked_keys(keys: Sequence[str], source: str) -> list[str]:
    """Return the keys unchanged if none could lead out of an images folder.

    Raises:
        DataError: naming the first that could, and how many there are.
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
    """Raise a DataError naming the first key that occurs twice."""
    seen: set[str] = set()
    repeated = [key for key in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    if repeated:
        raise DataError(
            f"{source}: {len(repeated)} image keys occur more than once, first {repeated[0]!r}; rename these images"
        )
