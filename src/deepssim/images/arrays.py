"""Read NumPy's `.npy` and `.npz`: one image per file or many, as samplers write them; objects are refused, so no code runs.

Not here: other files that hold arrays (containers.py), which axes are images (layouts.py).
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from deepssim.errors import DataError, NotAnImage, readable
from deepssim.images.frames import MAY_HOLD_IMAGES, NOT_READ, Contents, require_room
from deepssim.images.layouts import could_be_flat, stack_of, why_not
from deepssim.images.rasters import is_raster
from deepssim.images.stacks import Found, Stack, contents_of
from deepssim.images.texts import DOCUMENTS

ARRAY_SUFFIXES = (".npy", ".npz")
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_NAME_LENGTH, _NAME = 26, 30  # offsets in the local header of a zip archive
_EXTRA_LENGTH = 28
_HEAD = 132  # bytes that tell a picture
_MOST_PACKED = 2**30  # bytes of the compressed arrays of a file, which have to be unpacked as a whole
_MOST_ARRAYS = 100_000  # one after the other in a file
_MOST_HEADER = 2**17  # bytes; NumPy refuses headers of more than 10,000 characters
_MAX_COMPRESSION = 1100  # deflate reaches 1032
_ADVICE = "save it with `numpy.save` as an array of numbers"
_OBJECTS = "holds Python objects, which are not loaded because they could run code; " + _ADVICE


@dataclass(frozen=True)
class Named:
    """An array of a file.

    Attributes:
        name: its name in the file; may be empty.
        shape: its shape.
        kind: its type.
        values: what gives an image for a key of `Layout`; None if it cannot hold images.
        refused: why it is not read although it may hold images; empty if it is.
        head: first bytes of an array of bytes, which may be an encoded picture.
        size: bytes of it in the file, with its header, if it is stored as it is.
    """

    name: str
    shape: tuple[int, ...]
    kind: np.dtype
    values: Any = None
    refused: str = ""
    head: bytes = b""
    size: int = 0

    @property
    def doubt(self) -> str:
        """Why the array may hold images although its shape is not that of images; empty if it cannot."""
        if self.refused:
            return self.refused
        if could_be_flat(self.shape, self.kind):
            return f"shape {self.shape} may be that of images in another layout; save it with shape (N, H, W)"
        if is_raster(self.head) or self.head[128:132] == b"DICM":
            return "holds encoded pictures, not pixels; save each as a file, or its pixels with shape (N, H, W)"
        return ""


def may_be_encoded(shape: tuple[int, ...], kind: np.dtype) -> bool:
    """Return whether an array may hold the bytes of picture files."""
    return (kind.kind in "SV" and not kind.names) or (kind == np.uint8 and len(shape) == 1)


def is_array(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a `.npy` or `.npz`."""
    if head.startswith(_NPY):
        return True
    name = head[_NAME : _NAME + int.from_bytes(head[_NAME_LENGTH:_EXTRA_LENGTH], "little")]
    return head.startswith(_ZIP) and name.endswith(b".npy")


def read_arrays(path: str | Path, *, percentiles: Sequence[float]) -> Contents:
    """Read the images of a `.npy` or `.npz` file; by content, whatever the name says.

    Args:
        path: of the file. Arrays may be bool, integers, floating point or complex (shown as magnitude); see `layout_of` for
            the shapes, and `natural_range` for the values that are black and white.
        percentiles: intensity window of images without a natural range.

    Returns:
        float32 (H, W), 0 to 1, for each image of each array, read while they are iterated; other arrays are left out by name.

    Raises:
        NotAnImage: if no array has the shape of images.
        DataError: if the file is damaged, or holds objects.
    """
    with readable(path, "a NumPy file", _ADVICE):
        with Path(path).open("rb") as file:
            packed = file.read(len(_ZIP)) == _ZIP
        content = np.memmap(path, np.uint8, "r")  # once: each map of a part would keep the file open
        named = _members(path, content) if packed else _sequence(path, content)
        return named_contents(named, path, percentiles, "a NumPy file")


def named_contents(
    named: Iterable[Named],
    path: str | Path,
    percentiles: Sequence[float],
    kind: str,
    close: Callable[[], object] = lambda: None,
) -> Contents:
    """Return the images of the arrays of a file.

    Args:
        named: its arrays.
        path: of the file, for messages.
        percentiles: intensity window of images without a natural range.
        kind: of file, for messages.
        close: closes the file once all images have been read.

    Raises:
        NotAnImage: if no array has the shape of images.
        DataError: if an image is too large, or an array that may hold images is refused or flat.
    """
    stacks: list[Stack] = []
    left_out: list[Named] = []
    for array in named:
        if array.refused or why_not(array.shape, array.kind):
            left_out.append(array)
            continue
        require_room(array.shape[-3:] if array.shape[-1] <= 4 else array.shape[-2:], path)
        with readable(path, kind, "replace it"):
            stacks.append(stack_of(array.name, array.shape, array.kind, array.values))
    if not stacks:
        _raise_without_images(left_out, path)
    bits = max(
        (8 * stack.kind.itemsize for stack in stacks if stack.kind.kind in "ui" and stack.kind.itemsize <= 2),
        default=None,
    )
    names = [(array.name, _why_left_out(array)) for array in left_out]
    return contents_of(Found(stacks, names, bits=bits, close=close), path, percentiles, kind)


def _why_left_out(array: Named) -> str:
    if array.refused and array.kind == np.dtype("S1"):  # text of variable length, such as labels
        return array.refused
    if could_be_flat(array.shape, array.kind) and not array.refused:  # features of images look alike
        return f"{MAY_HOLD_IMAGES}{array.doubt}"
    return f"{NOT_READ}{array.doubt}" if array.doubt else why_not(array.shape, array.kind)


def _raise_without_images(left_out: Sequence[Named], path: str | Path) -> NoReturn:
    for array in left_out:
        name = repr(array.name) if array.name else "the array"
        if array.refused:
            raise DataError(f"{path}: {name} cannot be read: {array.refused}; copy the images into another file")
        if could_be_flat(array.shape, array.kind):
            raise DataError(
                f"{path}: {name} of shape {array.shape} may hold images in another layout; save it with shape (N, H, W)"
            )
        if array.doubt:
            raise DataError(f"{path}: {name} {array.doubt}")
    first = (
        f"the first of {len(left_out)} arrays, {left_out[0].name!r}, {why_not(left_out[0].shape, left_out[0].kind)}"
        if left_out
        else "it is empty"
    )
    raise NotAnImage(f"{path}: holds no array of images ({first}); save images with shape (N, H, W)")


def _header(file: Any, path: str | Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an array: its shape, whether columns are contiguous, and its type."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"{path}: has version {version} of NumPy's format, which is unknown; {_ADVICE}")
    # Version 3.0 differs from 2.0 in the encoding of field names only, which images do not have.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns, kind = read(file)
    return tuple(int(side) for side in shape), columns, kind


def _mapped(path: str | Path, name: str, content: np.ndarray) -> Named:
    """Return an array that is stored as it is in the bytes of a file; its values are read when they are used."""
    file = io.BytesIO(content[:_MOST_HEADER].tobytes())
    shape, columns, kind = _header(file, path)
    offset = file.tell()
    if kind.hasobject:
        raise DataError(f"{path}: {_OBJECTS}")
    declared = math.prod(shape) * kind.itemsize
    if declared > content.size - offset:
        stored = max(0, content.size - offset)
        raise DataError(f"{path}: declares {declared:,} bytes, but only {stored:,} are stored; {_ADVICE}")
    if why_not(shape, kind):
        head = content[offset : offset + _HEAD].tobytes() if may_be_encoded(shape, kind) else b""
        return Named(name, shape, kind, head=head, size=offset + declared)
    values = np.ndarray(shape, kind, content, offset, order="F" if columns else "C")
    return Named(name, shape, kind, values, size=offset + declared)


def _sequence(path: str | Path, content: np.ndarray) -> list[Named]:
    """Return the arrays of a `.npy`, in which `numpy.save` may have written one after the other."""
    found: list[Named] = []
    start = 0
    while start < content.size:
        if found and content[start : start + len(_NPY)].tobytes() != _NPY:
            raise DataError(f"{path}: holds {content.size - start:,} bytes behind its arrays; {_ADVICE}")
        if len(found) == _MOST_ARRAYS:
            raise DataError(f"{path}: holds more than {_MOST_ARRAYS:,} arrays; save them as one")
        found.append(_mapped(path, f"array-{len(found):03d}", content[start:]))
        start += found[-1].size
    return found if len(found) > 1 else [replace(array, name="") for array in found]


def _members(path: str | Path, content: np.ndarray) -> list[Named]:
    found: list[Named] = []
    room = _MOST_PACKED
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.flag_bits & 1:
                raise DataError(f"{path}: is encrypted; {_ADVICE}")
            if not entry.filename.endswith(".npy"):
                if not (entry.is_dir() or entry.filename.lower().endswith(DOCUMENTS)):
                    found.append(Named(entry.filename, (), np.dtype("V1"), refused="is a file of another format"))
                continue
            if entry.compress_type == zipfile.ZIP_STORED:
                found.append(_stored(archive, entry, path, content))
            else:
                found.append(_unpacked(archive, entry, path, room))
                room -= 0 if found[-1].values is None else found[-1].values.nbytes
    return found


def _stored(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str | Path, content: np.ndarray) -> Named:
    with archive.open(entry):  # checks the local header
        local = content[entry.header_offset : entry.header_offset + _NAME].tobytes()
    lengths = (int.from_bytes(local[at : at + 2], "little") for at in (_NAME_LENGTH, _EXTRA_LENGTH))
    start = entry.header_offset + _NAME + sum(lengths)
    return _mapped(path, entry.filename.removesuffix(".npy"), content[start : start + entry.file_size])


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str | Path, room: int) -> Named:
    name = entry.filename.removesuffix(".npy")
    with archive.open(entry) as member:
        shape, columns, kind = _header(member, path)
        if kind.hasobject:
            raise DataError(f"{path}: {_OBJECTS}")
        declared = math.prod(shape) * kind.itemsize
        if why_not(shape, kind):
            return Named(name, shape, kind, head=member.read(_HEAD) if may_be_encoded(shape, kind) else b"")
        if declared > min(room, entry.compress_size * _MAX_COMPRESSION):
            raise DataError(
                f"{path}: {name!r} would unpack to {declared:,} bytes, too many for compressed arrays; save them with "
                "`numpy.savez`, or each array with `numpy.save`"
            )
        content = _exactly(member, declared, path)
    values = np.frombuffer(content, kind, math.prod(shape))
    return Named(name, shape, kind, values.reshape(shape, order="F" if columns else "C"))


def _exactly(member: Any, count: int, path: str | Path) -> memoryview:
    content = io.BytesIO()
    while (left := count - content.tell()) > 0:
        chunk = member.read(
            min(left, 2**22)
        )  # in one call, memory for all would be reserved before the first byte is there
        if not chunk:
            raise DataError(f"{path}: declares {count:,} bytes, but only {content.tell():,} are stored; {_ADVICE}")
        content.write(chunk)
    return content.getbuffer()
