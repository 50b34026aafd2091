"""Stacks: the images of an array or a page, decoded one by one, so that memory does not grow with their number.

Not here: how arrays and pages are laid out (arrays.py, tiff.py), grey values (grey.py).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.frames import Contents, Facts, Frame
from deepssim.images.grey import NOT_FINITE, Extent, describe, extent_of, natural_range, unit

_MAX_TOTAL = 2**34  # values of all images of a file: 65,000 images of 512x512; more would take hours
_NO_PIXELS = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Stack:
    """Images of one type that belong together.

    Attributes:
        name: for the names of the images, for example that of an array; may be empty.
        count: number of images.
        load: returns the image of a number as real numbers (H, W).
        kind: type of the stored values.
        notices: what the reader assumed, see `Facts`.
        span: values of black and white, if the format says so; otherwise they are derived from all images.
        values: number of values of all images.
        planes: how many images in a row are certainly the planes of one volume; 0 if that is not certain.
    """

    name: str
    count: int
    load: Callable[[int], np.ndarray]
    kind: np.dtype
    notices: tuple[str, ...] = ()
    span: tuple[float, float] | None = None
    values: int = 0
    planes: int = 0


@dataclass(frozen=True)
class Found:
    """What a reader found in a file.

    Attributes:
        stacks: its images.
        left_out: names of other things in it, and why they are not used.
        bits: see `Facts`.
        close: closes the file once all images have been read.
    """

    stacks: list[Stack]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    bits: int | None = None
    close: Callable[[], object] = lambda: None


def contents_of(found: Found, path: str | Path, percentiles: Sequence[float], kind: str) -> Contents:
    """Return the images of stacks as grey values, decoded while they are iterated.

    Images of the whole file are looked at first, where their range of values has to be found out.

    Args:
        found: at least one stack.
        path: of the file, for messages.
        percentiles: intensity window of images without a natural range, see `natural_range`; `AS_STORED` for values as they are.
        kind: of file, for messages, for example "a TIFF".

    Returns:
        Frames named `frame-000` and so on, or `name-000` if there are several named stacks, or without a name if there is one
        image in all.

    Raises:
        DataError: if an image cannot be decoded, or there are more than can be read.
    """
    total = sum(stack.values for stack in found.stacks)
    if total > _MAX_TOTAL:
        raise DataError(f"{path}: holds {total:,} values, more than {_MAX_TOTAL:,}; split it into several files")
    stacks, spans, notices = [], [], []
    for stack in found.stacks:
        cached = Stack(**(stack.__dict__ | {"load": lru_cache(maxsize=1)(stack.load)}))
        span, said = stack.span, list(stack.notices)
        if span is None and percentiles:
            with readable(path, kind, "replace it"):
                extent = _extent(cached)
            span = natural_range(stack.kind, extent)
            said += [describe(span)] * bool(describe(span)) + [NOT_FINITE] * (not extent.finite)
        stacks.append(cached)
        spans.append(span)
        notices += said
    volumes = all(stack.planes for stack in found.stacks)
    facts = Facts(bits=found.bits, notices=tuple(dict.fromkeys(notices)), volumes=volumes)
    frames = _closing(_frames(stacks, spans, found.left_out, path, percentiles, kind), found.close)
    if sum(stack.count for stack in stacks) == 1:  # so that damage is reported at once
        return Contents(list(frames), facts)
    return Contents(frames, facts)


def _closing(frames: Iterator[Frame], close: Callable[[], object]) -> Iterator[Frame]:
    try:
        yield from frames
    finally:
        close()


def _extent(stack: Stack) -> Extent:
    extent = extent_of(stack.load(0))
    for number in range(1, stack.count):
        extent |= extent_of(stack.load(number))
    return extent


def _frames(
    stacks: Sequence[Stack],
    spans: Sequence[tuple[float, float] | None],
    left_out: Sequence[tuple[str, str]],
    path: str | Path,
    percentiles: Sequence[float],
    kind: str,
) -> Iterator[Frame]:
    single, several = sum(stack.count for stack in stacks) == 1, len(stacks) > 1
    number = volume = 0
    names = _distinct([stack.name for stack in stacks])
    for stack, span, name in zip(stacks, spans, names, strict=True):
        for index in range(stack.count):
            with readable(path, kind, "replace it"):
                pixels = unit(stack.load(index), span, percentiles)
            part = f"{name}-{index:03d}" if several and stack.name else f"frame-{number:03d}"
            yield Frame("" if single else part, pixels, volume=volume + (index // stack.planes if stack.planes else 0))
            number += 1
        volume += stack.count // stack.planes if stack.planes else 1
    for name, reason in left_out:
        yield Frame(_tame(name), _NO_PIXELS, left_out=reason)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names that can be part of a file name, no two alike."""
    found: list[str] = []
    for name in map(_tame, names):
        unique, number = name, 1
        while name and unique in found:
            number += 1
            unique = f"{name}.{number}"
        found.append(unique)
    return found


def _tame(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name.strip("/"))[:80]
