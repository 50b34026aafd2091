"""SHA-256 of many things in 32 bytes each; as text in a list they would take 120.

Not here: computing them (provenance.py, images/folders.py).
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

DIGEST = np.dtype("S32")  # bytes that sort as their hexadecimal text does
_TEXT = 64  # hexadecimal digits


class Hashes(Sequence[str]):
    """Checksums that are given as hexadecimal text, one at a time.

    Args:
        digests: `DIGEST` (N,).
    """

    def __init__(self, digests: np.ndarray) -> None:
        self.digests = digests

    def __len__(self) -> int:
        return len(self.digests)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> "Hashes": ...
    def __getitem__(self, place: int | slice) -> "str | Hashes":
        if isinstance(place, slice):
            return Hashes(self.digests[place])
        return _text(self.digests[place])

    def __iter__(self) -> Iterator[str]:
        return map(_text, self.digests)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(other) == len(self) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def _text(digest: bytes) -> str:
    return digest.ljust(DIGEST.itemsize, b"\0").hex()  # numpy gives bytes without zeros at their end


def digests_of(names: Sequence[str]) -> np.ndarray:
    """Return 32 bytes that stand for each name: a checksum itself, or the SHA-256 of any other text.

    Args:
        names: N names.

    Returns:
        Bytes of dtype `DIGEST`, shape (N,), equal where names are equal.
    """
    if isinstance(names, Hashes):
        return names.digests
    return np.fromiter(map(_digest, names), DIGEST, len(names))


def _digest(name: str) -> bytes:
    if len(name) == _TEXT and set(name) <= set("0123456789abcdef"):
        return bytes.fromhex(name)
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
