"""Read TIFF by tifffile: all pages, BigTIFF, any number of bits, ImageJ and OME stacks; shown as every viewer shows them.

Not here: other pictures (rasters.py), how values become grey (grey.py).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from deepssim.errors import DataError, readable
from deepssim.images.frames import Contents, require_room
from deepssim.images.grey import COMPLEX, SEE_THROUGH, extent_of, flatten, luminance, natural_range
from deepssim.images.stacks import Found, Stack, contents_of

if TYPE_CHECKING:
    import tifffile

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF 6.0 and BigTIFF
_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _RAW_RGB = 0, 2, 3, 5, 6, 8, 34892  # photometric interpretation
_COLOURS = {_RGB: 3, _CMYK: 4, _YCBCR: 3, _LAB: 3, _RAW_RGB: 3}  # samples of a pixel, without transparency
_PREMULTIPLIED, _ALPHA = 1, 2  # kinds of extra samples
_ORIENTATION, _LARGEST = 274, 341  # tags
_REDUCED = "smaller copy of another page"
_MAX_COMPRESSION = 5000  # values to stored bytes
_ALWAYS_ALLOWED = 1_000_000  # values
# Orientation: transpose, flip rows, flip columns (TIFF 6.0, page 36)
_TURNS = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False), 5: (True, False, False),
    6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


def is_tiff(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a TIFF."""
    return head.startswith(_SIGNATURES)


def read_tiff(path: str | Path, *, percentiles: Sequence[float]) -> Contents:
    """Read the pages of a TIFF as grey values.

    Larger is brighter, also where 0 is white; colour becomes luminance; the orientation is applied; a transparent page is
    shown as `flatten` describes. Each plane of a stack (Z, T, C) is an image of its own, and so are samples of a pixel that are
    neither colour nor transparency.

    Args:
        path: TIFF or BigTIFF; of an OME-TIFF of several files only the pages of this one are read.
        percentiles: intensity window (see `window`) of pages with more than 8 bits and without a natural range of values.

    Returns:
        float32 (H, W), 0 to 1, per page, decoded while they are iterated; reduced copies of a page are left out.

    Raises:
        DataError: if a page cannot be decoded in full or the package for its compression is missing.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(
        logging.CRITICAL
    )  # its remarks on private tags, a line for each of every page
    with readable(path, "a TIFF", "replace it"):
        file = tifffile.TiffFile(path)
        try:
            found = _planes_of_one_page(file, path) or _pages(file, path)
            return contents_of(found, path, percentiles, "a TIFF")
        except BaseException:
            file.close()
            raise


def _planes_of_one_page(file: tifffile.TiffFile, path: str | Path) -> Found | None:
    """Return the images of a stack that is described by one page, as ImageJ writes those of more than 4 GB."""
    if len(file.pages) > 1 or not (file.is_imagej or file.is_shaped or file.is_stk):
        return None
    series = file.series[0]
    if series.size <= file.pages.first.size or series.dataoffset is None:
        return None
    stored = np.dtype(f"{file.byteorder}{series.dtype.char}")
    values = np.memmap(path, stored, "r", int(series.dataoffset), tuple(series.shape))
    colour = series.axes.endswith("S")
    image = values.shape[-3:] if colour else values.shape[-2:]
    flat = values.reshape(-1, *image)
    require_room(image, path)
    page = file.pages.first

    def load(number: int) -> np.ndarray:
        return _real(luminance(flat[number][..., :3]) if colour else flat[number])

    show = _inverted(load, len(flat), page) if page.photometric == _WHITE_IS_ZERO else load
    span = (0.0, 255.0) if stored == np.uint8 else None
    stack = Stack("", len(flat), show, stored, _notices(page), span, values.size)
    return Found([stack], bits=_bits(page), close=file.close)


def _pages(file: tifffile.TiffFile, path: str | Path) -> Found:
    found, left_out = [], []
    pages = [page.aspage() for page in file.pages]
    largest = max((page.size for page in pages), default=0)
    for number, page in enumerate(pages):
        copies = [copy.aspage() for copy in page.pages or ()]
        larger = [copy for copy in copies if not copy.is_reduced and copy.size >= page.size]
        # The first page is kept, unless it is the thumbnail of another; so is one as large as any, which is no smaller copy.
        if page.is_reduced and (larger or (number and page.size < largest)):
            left_out.append((f"reduced-{number:03d}", _REDUCED))
        else:
            found.append((number, page))
        found += [(-1, copy) for copy in larger]
        left_out += [(f"reduced-{number:03d}", _REDUCED) for copy in copies if copy not in larger]
    if not found:
        raise DataError(f"{path}: has no pages; replace it")
    _require_end(file, path)
    stacks = [
        _stack(list(pages), path)
        for _, pages in groupby(found, lambda item: (str(item[1].dtype), _bits(item[1]), int(item[1].photometric)))
    ]
    return Found(stacks, left_out, bits=_bits(found[0][1]), close=file.close)


def _require_end(file: tifffile.TiffFile, path: str | Path) -> None:
    """Refuse a file in which the chain of pages ends at a damaged place, where tifffile stops in silence."""
    sizes, handle = file.tiff, file.filehandle
    offsets = [page.offset for page in file.pages]
    handle.seek(offsets[-1])
    (count,) = struct.unpack(sizes.tagnoformat, handle.read(sizes.tagnosize))
    handle.seek(count * sizes.tagsize, 1)
    (following,) = struct.unpack(sizes.offsetformat, handle.read(sizes.offsetsize))
    if following and following not in offsets:
        raise DataError(
            f"{path}: is damaged or cut off after page {len(offsets)}, so that pages may be missing; replace it"
        )


def _stack(pages: list[tuple[int, Any]], path: str | Path) -> Stack:
    """Return the images of pages of the same type."""
    places: list[tuple[int, int, int]] = []  # page, plane, and part of its pixels
    for place, (_, page) in enumerate(pages):
        if page.dtype is None or page.size == 0:
            raise DataError(f"{path}: has a page of a type that cannot be decoded, or without pixels; replace it")
        _require_stored(page, path)
        places += product((place,), range(page.shaped[1]), range(1 + len(_others(page))))
    first = pages[0][1]
    small = _bits(first) is not None and (_bits(first) or 0) <= 8

    @lru_cache(maxsize=1)  # a page may hold many images
    def decoded(place: int) -> np.ndarray:
        stored: np.ndarray = pages[place][1].asarray(squeeze=False, maxworkers=1)
        return stored

    def load(index: int) -> np.ndarray:
        place, depth, part = places[index]
        number, page = pages[place]
        try:
            stored = decoded(place)
        except (ValueError, KeyError, NotImplementedError, ImportError) as error:
            if part or depth or number < 0:
                raise
            return _by_pillow(page, number, path, error)
        return _page_image(page, stored, depth, part)

    show: Callable[[int], np.ndarray] = load
    if first.photometric == _WHITE_IS_ZERO and not small:
        show = _inverted(load, len(places), first)
    span = (0.0, 255.0) if small or first.photometric == _PALETTE else None
    values = sum(page.size for _, page in pages)
    return Stack("", len(places), show, np.dtype(first.dtype), _notices(first), span, values)


def _require_stored(page: Any, path: str | Path) -> None:
    """Refuse a page that declares more pixels than are stored; tifffile would show what is missing as black."""
    require_room(page.shaped, path)
    stored = sum(page.databytecounts)
    complete = len(page.databytecounts) >= np.prod(page.chunked, dtype=object) and all(page.databytecounts)
    if not complete or page.size > max(_ALWAYS_ALLOWED, stored * _MAX_COMPRESSION):
        raise DataError(
            f"{path}: declares {page.size:,} values, but stores {stored:,} bytes in {len(page.databytecounts)} parts; replace it"
        )


def _page_image(page: Any, stored: np.ndarray, depth: int, part: int) -> np.ndarray:
    """Return an image of a decoded page: the picture (part 0), or a further sample of its pixels."""
    samples = np.moveaxis(stored, 0, 3)[depth]  # of (planes, depth, height, width, samples)
    samples = samples.reshape(*samples.shape[:2], -1)
    others = _others(page)
    grey = _picture(page, samples) if part == 0 else samples[..., others[part - 1]]
    return _turned(_real(grey), page)


def _others(page: Any) -> list[int]:
    """Return the samples of a pixel that are neither colour nor transparency."""
    count = page.shaped[0] * page.shaped[4]
    colours = _COLOURS.get(int(page.photometric), 1)
    if count < colours:
        return list(range(1, count))
    return [index for index in range(colours, count) if index != _alpha(page)[0]]


def _alpha(page: Any) -> tuple[int | None, bool]:
    """Return which sample is the transparency, and whether colours are multiplied with it."""
    count, extra = page.shaped[0] * page.shaped[4], list(page.extrasamples)
    for index, kind in enumerate(extra, count - len(extra)):
        if kind in (_PREMULTIPLIED, _ALPHA) and index >= _COLOURS.get(int(page.photometric), 1):
            return index, kind == _PREMULTIPLIED
    return None, False


def _picture(page: Any, samples: np.ndarray) -> np.ndarray:
    kind, bits = int(page.photometric), _bits(page)
    full = float(2**bits - 1) if bits else 1.0
    if samples.shape[2] < _COLOURS.get(kind, 1):
        grey = samples[..., 0]
    elif kind in (_RGB, _RAW_RGB) or (kind == _YCBCR and int(page.compression) in (6, 7, 34892)):  # JPEG gives RGB
        grey = luminance(samples[..., :3])
    elif kind == _PALETTE:
        return _palette(page, samples[..., 0])
    elif kind == _CMYK:
        inks = samples[..., :4].astype(np.float32) / np.float32(full)
        grey = luminance((1 - inks[..., :3]) * (1 - inks[..., 3:])) * np.float32(full)
    else:  # grey, the luma of YCbCr, the lightness of Lab
        grey = samples[..., 0]
    if kind == _WHITE_IS_ZERO and bits and bits <= 8:
        grey = full - grey.astype(np.float32)
    alpha, premultiplied = _alpha(page)
    if alpha is not None and not np.iscomplexobj(grey):
        grey = flatten(grey, samples[..., alpha], full, premultiplied=premultiplied)
    if bits and bits < 8:
        grey = grey.astype(np.float32) * np.float32(255 / full)
    return grey


def _palette(page: Any, indices: np.ndarray) -> np.ndarray:
    colours = np.asarray(page.colormap)[:, :]
    if colours.max() > 255:  # some programs store bytes in these 16 bits
        colours = colours // 257
    return luminance(np.moveaxis(colours.astype(np.uint8)[:, indices], 0, -1))


def _inverted(load: Callable[[int], np.ndarray], count: int, page: Any) -> Callable[[int], np.ndarray]:
    """Return a loader of images in which 0 is black, from one of images in which 0 is white."""
    extent = extent_of(load(0))
    for number in range(1, count):
        extent |= extent_of(load(number))
    kind = np.dtype(page.dtype)
    if kind.kind == "u":
        # A 12-bit scan in 16 bits is inverted within 12 bits, or it would end up in the uppermost sixteenth of the range.
        tag = page.tags.get(_LARGEST)
        declared = float(np.max(tag.value)) if tag is not None else 0.0
        bits = _bits(page) or 0
        widths = (2.0**bits - 1 for bits in (8, 10, 12, 14, 16, 32, 64))
        total = declared if declared >= extent.high else next(width for width in widths if width >= extent.high)
        total = 2.0**bits - 1 if bits % 8 else total
    else:
        span = natural_range(kind, extent)
        total = sum(span) if span else extent.low + extent.high
    return lambda number: total - load(number).astype(np.float64)


def _turned(image: np.ndarray, page: Any) -> np.ndarray:
    tag = page.tags.get(_ORIENTATION)
    transpose, rows, columns = _TURNS.get(int(tag.value) if tag is not None else 1, (False, False, False))
    image = image.T if transpose else image
    return image[:: -1 if rows else 1, :: -1 if columns else 1]


def _by_pillow(page: Any, number: int, path: str | Path, error: Exception) -> np.ndarray:
    """Decode a page whose compression tifffile cannot decode alone; Pillow keeps 8 bits of colour."""
    bits = _bits(page)
    with Image.open(path, formats=["TIFF"]) as image:
        image.seek(number)
        require_room([image.width, image.height], path)
        exact = image.mode in ("I", "F") or image.mode.startswith("I;16")
        if "imagecodecs" in str(error) and not exact and not (bits and bits <= 8):
            raise DataError(
                f"{path}: is compressed as {page.compression.name}, which needs another package; install it with "
                "`pip install 'deepssim[codecs]'`"
            )
        image.load()
        if exact:
            return np.asarray(image)
        clear = image if "A" not in image.mode else image.convert("RGBA")
        grey = np.asarray(clear.getchannel(0) if clear.mode == "LAB" else clear.convert("L"))
        return flatten(grey, np.asarray(clear.getchannel("A")), 255) if clear.mode == "RGBA" else grey


def _real(values: np.ndarray) -> np.ndarray:
    return np.abs(values) if np.iscomplexobj(values) else values


def _notices(page: Any) -> tuple[str, ...]:
    complex_values = np.dtype(page.dtype).kind == "c"
    return ((COMPLEX,) if complex_values else ()) + ((SEE_THROUGH,) if _alpha(page)[0] is not None else ())


def _bits(page: Any) -> int | None:
    """Return the bits of a sample; None for floating point."""
    if page.dtype is None or np.dtype(page.dtype).kind not in "bui":
        return None
    bits = page.bitspersample
    return int(bits if isinstance(bits, int) else max(bits))
