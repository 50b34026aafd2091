"""Read and write HDF5 files; damaged, foreign and malicious files are refused with a one-sentence message.

Text is stored with a fixed length: HDF5 keeps variable-length text in global heaps, and the HDF5 library (up to 2.0) may
loop for ever on a damaged heap. Global heaps are therefore never read here.

Not here: contents of the files (images/packs.py, similarity/embeddings.py, similarity/matrices.py, generative/latents.py),
npz files (npz.py).
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepssim.errors import DataError, readable

_ADVICE = "delete it and rerun the step that writes it"
_RERUN = "rerun the step that writes this file"
_VARIABLE_LENGTH = "has values of variable length, as files of an older version do"
_MAX_COMPRESSION = 1100  # deflate, the strongest filter of HDF5, reaches 1032
_ALWAYS_ALLOWED = 1_000_000  # bytes that any dataset may declare, however little is stored
_BLOCK = 2**20  # bytes of keys in a chunk
_COMPRESSED_FROM = 2**16  # bytes of keys; shorter lists are not compressed


@contextmanager
def open_hdf5(path: str | Path, *, needs: Sequence[str]) -> Iterator[Any]:
    """Open an HDF5 file for reading and check the datasets that will be read.

    Args:
        path: HDF5 file.
        needs: names of datasets that the file must have.

    Yields:
        The open `h5py.File`.

    Raises:
        DataError: if the file is absent, truncated or not HDF5, or a dataset is missing or refused by `dataset`.
    """
    try:
        file = h5py.File(path, "r")
    except Exception as error:  # damaged files raise exceptions of many kinds
        if not Path(path).exists():
            raise DataError(f"{path}: does not exist; run the step that writes it") from None
        if Path(path).is_dir():
            raise DataError(
                f"{path}: is a folder; name an HDF5 file (`deepssim pack` makes one of a folder of images)"
            ) from None
        raise DataError(f"{path}: is damaged or not HDF5 ({error}); {_ADVICE}") from None
    with file:
        with readable(path, "HDF5", _ADVICE):
            missing = [name for name in needs if name not in file]
        if missing:
            raise DataError(
                f"{path}: lacks {len(missing)} of {len(needs)} datasets that this step reads, first {missing[0]!r}; "
                "name a file of the right kind"
            )
        for name in needs:
            dataset(file, name)
        yield file


def dataset(file: Any, name: str, *, ndim: int | None = None, kinds: str | None = None) -> Any:
    """Return a dataset of an open file without reading its values.

    Args:
        file: open `h5py.File`.
        name: path of the dataset in the file, for example "of_rows/scores".
        ndim: required number of dimensions.
        kinds: accepted values of `dtype.kind`, for example "f" for floating point.

    Returns:
        The `h5py.Dataset`.

    Raises:
        DataError: if the name leads to another file or not to a dataset, or the dataset has values of variable length,
            declares more data than the file can hold, or has another shape or type than required.
    """
    path = file.filename
    with readable(path, "HDF5", _ADVICE):
        _require_hard_links(file, name)
        _require_no_heap(path, name)
        found = file[name]
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            raise DataError(f"{path}: {name!r} is not an HDF5 dataset with values; {_RERUN}")
        _require_fixed_length(path, name, found.dtype)  # before the properties below read a fill value's heap
        if found.is_virtual or found.external:
            raise DataError(f"{path}: {name!r} is stored in other files; copy its values into this file")
        declared = found.size * found.dtype.itemsize
        stored = min(found.id.get_storage_size(), Path(path).stat().st_size)  # the storage size is only declared, too
        if declared > max(_ALWAYS_ALLOWED, stored * (1 if found.chunks is None else _MAX_COMPRESSION)):
            raise DataError(f"{path}: {name!r} declares {declared:,} bytes, but only {stored:,} are stored; {_RERUN}")
        if (ndim is not None and found.ndim != ndim) or (kinds is not None and found.dtype.kind not in kinds):
            raise DataError(
                f"{path}: {name!r} holds {found.dtype} of shape {found.shape}, which this step cannot use; {_RERUN}"
            )
        return found


def write_keys(file: Any, name: str, keys: Sequence[str]) -> None:
    """Store a list of keys as UTF-8 text of fixed length (that of the longest key); long lists are compressed.

    Args:
        file: `h5py.File` open for writing.
        name: name of the new dataset.
        keys: strings; the list and its entries may be empty.

    Raises:
        DataError: if a key has a NUL character or cannot be encoded as UTF-8.
    """
    source = f"{file.filename}: key"
    texts = [_encoded(key, source) for key in keys]
    length = max(1, max(map(len, texts), default=1))
    kind = h5py.string_dtype("utf-8", length)
    # Block by block, so that one long key does not make a huge array.
    rows = max(1, _BLOCK // length)
    blocks = (np.array(texts[start : start + rows], kind) for start in range(0, len(texts), rows))
    write_key_blocks(file, name, blocks, count=len(texts), length=length)


def write_key_blocks(file: Any, name: str, blocks: Iterable[np.ndarray], *, count: int, length: int) -> None:
    """Store keys that come block by block, as `write_keys` does, without having all of them in memory.

    Args:
        file: `h5py.File` open for writing.
        name: name of the new dataset.
        blocks: arrays of UTF-8 text of fixed width, of any number of keys each.
        count: keys of all blocks.
        length: bytes of the longest key.
    """
    kind = h5py.string_dtype("utf-8", length)
    rows = min(count, max(1, _BLOCK // length))
    options: dict[str, Any] = {}
    if count * length >= _COMPRESSED_FROM:
        # The shuffle filter groups the bytes at the same position of all keys, so a common prefix takes almost no space.
        options = {"chunks": (rows,), "shuffle": True, "compression": "gzip", "compression_opts": 1}
    stored = file.create_dataset(name, (count,), kind, **options)
    start, waiting = 0, np.zeros(0, kind)
    for block in blocks:
        waiting = np.concatenate([waiting, block.astype(kind)])
        whole = len(waiting) if start + len(waiting) == count else len(waiting) // rows * rows
        if whole:  # whole chunks, since each write compresses a whole chunk
            stored[start : start + whole] = waiting[:whole]
            start, waiting = start + whole, waiting[whole:]


def read_keys(file: Any, name: str, *, expected: int) -> list[str]:
    """Read a list of keys.

    Args:
        file: open `h5py.File`.
        name: name of the dataset.
        expected: required number of keys.

    Raises:
        DataError: if the number of keys differs, or the dataset is not UTF-8 text of fixed length, or is refused by `dataset`.
    """
    stored = key_dataset(file, name, expected=expected)
    # Whole chunks, since each access decompresses a whole chunk.
    rows = max(_BLOCK // stored.dtype.itemsize, *(stored.chunks or ()), 1)
    with readable(file.filename, "HDF5", _ADVICE):
        return [
            key.decode("utf-8") for start in range(0, expected, rows) for key in stored[start : start + rows].tolist()
        ]


def key_dataset(file: Any, name: str, *, expected: int) -> Any:
    """Return a dataset of keys of an open file without reading it; arguments and errors as of `read_keys`."""
    stored = dataset(file, name, ndim=1, kinds="S")
    if len(stored) != expected:
        raise DataError(f"{file.filename}: {name!r} holds {len(stored):,} keys for {expected:,} rows of data; {_RERUN}")
    return stored


def write_text(file: Any, name: str, text: str) -> None:
    """Store a text as a scalar dataset of fixed length; unlike an attribute it may exceed 64 KiB.

    Args:
        file: `h5py.File` open for writing.
        name: name of the new dataset.
        text: text to store.

    Raises:
        DataError: if the text has a NUL character or cannot be encoded as UTF-8.
    """
    content = _encoded(text, f"{file.filename}: {name}")
    file.create_dataset(name, data=content, dtype=h5py.string_dtype("utf-8", max(1, len(content))))


def write_text_attribute(file: Any, name: str, text: str) -> None:
    """Store a text of less than 64 KiB as an attribute of fixed length.

    Args:
        file: `h5py.File` open for writing.
        name: name of the attribute.
        text: text to store.

    Raises:
        DataError: if the text has a NUL character or cannot be encoded as UTF-8.
    """
    content = _encoded(text, f"{file.filename}: {name}")
    file.attrs.create(name, content, dtype=h5py.string_dtype("utf-8", max(1, len(content))))


def read_text_attribute(file: Any, name: str) -> str:
    """Read a text attribute.

    Args:
        file: open `h5py.File`.
        name: name of the attribute.

    Raises:
        DataError: if the attribute is missing or is not UTF-8 text of fixed length.
    """
    value = _attribute(file, name, "S")
    with readable(file.filename, "HDF5", _ADVICE):
        return bytes(value).decode("utf-8")


def read_number_attribute(file: Any, name: str) -> float:
    """Read a scalar numeric attribute; integers stay exact.

    Args:
        file: open `h5py.File`.
        name: name of the attribute.

    Raises:
        DataError: if the attribute is missing or is not a number.
    """
    return _attribute(file, name, "iuf").item()


def _attribute(file: Any, name: str, kinds: str) -> Any:
    """Return the value of a scalar attribute whose `dtype.kind` is one of `kinds`."""
    path = file.filename
    with readable(path, "HDF5", _ADVICE):
        if name not in file.attrs:
            raise DataError(f"{path}: lacks attribute {name!r}; name a file of the right kind")
        stored = file.attrs.get_id(name)
        _require_fixed_length(path, name, stored.dtype)
        if stored.shape != () or stored.dtype.kind not in kinds:
            raise DataError(
                f"{path}: attribute {name!r} holds {stored.dtype} of shape {stored.shape}, which this step cannot use; "
                f"{_RERUN}"
            )
        return file.attrs[name]


def _encoded(text: str, source: str) -> bytes:
    """Encode a text as UTF-8 that can be stored with a fixed length."""
    if "\0" in text:  # text of fixed length is padded with NUL
        raise DataError(f"{source} {text!r} has a NUL character, which HDF5 text cannot hold; rename it")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # for example from a file name in another encoding
        raise DataError(f"{source} {text!r} cannot be encoded as UTF-8; rename it") from None


def _require_fixed_length(path: str, name: str, kind: np.dtype) -> None:
    """Refuse types whose values are kept in a global heap: text or lists of variable length, and references."""
    if kind.hasobject:
        raise DataError(f"{path}: {name!r} {_VARIABLE_LENGTH}; {_RERUN}")


def _require_hard_links(file: Any, name: str) -> None:
    """Refuse soft and external links, which could point to any file of this machine."""
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        if not isinstance(file.get("/".join(parts[:count]), getlink=True), h5py.HardLink):
            raise DataError(f"{file.filename}: {name!r} is a link to another object; replace it by a copy of the data")


def _require_no_heap(path: str, name: str) -> None:
    """Refuse an object that the HDF5 library cannot open without a global heap: virtual datasets, some fill values."""
    with WithoutHeaps(path) as content, h5py.File(content, "r") as file:
        try:
            file[name]
        except Exception:
            if content.hidden:
                raise DataError(f"{path}: {name!r} is a virtual dataset or {_VARIABLE_LENGTH}; {_RERUN}") from None
            raise


class WithoutHeaps(io.FileIO):
    """A file in which `h5py.File` finds no global heaps, because their signature is read as zeros.

    Source: HDF5 File Format Specification 3.0, III.E. Global Heap.
    """

    _SIGNATURE = b"GCOL"
    hidden = False  # whether a signature was read

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer."""
        view, start = memoryview(buffer).cast("B"), self.tell()
        before = min(start, len(self._SIGNATURE) - 1)  # the signature may be read in two parts
        around = os.pread(self.fileno(), before + len(view) + len(self._SIGNATURE) - 1, start - before)
        self.hidden |= self._SIGNATURE in around
        content = around.replace(self._SIGNATURE, bytes(len(self._SIGNATURE)))[before : before + len(view)]
        view[: len(content)] = content
        self.seek(start + len(content))
        return len(content)
