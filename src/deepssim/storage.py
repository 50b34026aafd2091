"""The one way HDF5 and npz files are opened, so that a damaged, foreign or hostile file gives one sentence.

Links to other files, data without end and pickled objects are refused.

Not here: what the files hold (images/packs.py, encoders/embeddings.py, similarity/matrices.py, generative/latents.py).
"""

import io
import mmap
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepssim.errors import DataError, readable

_TEXT = h5py.string_dtype("utf-8")
# No filter of HDF5 shrinks data more than deflate does at its best (1032 times); what claims more is not there.
_MOST_GROWTH = 1100
_SMALL = 1_000_000  # bytes that a dataset may have in any case


@contextmanager
def open_hdf5(path: str | Path, *, needs: Sequence[str]) -> Iterator[Any]:
    """Open an HDF5 file for reading and check that it holds the datasets `needs`.

    Raises:
        DataError: if the file is absent, truncated, not HDF5, lacks a dataset or has one that is not to be read (see
            `dataset`).
    """
    try:
        file = h5py.File(path, "r")
    except Exception as error:  # damaged files raise anything
        reason = "does not exist" if not Path(path).exists() else f"is damaged or not HDF5 ({error})"
        raise DataError(f"{path}: {reason}; make it again") from None
    with file:
        with readable(path, "HDF5"):
            _require_sound_heaps(file, path)
            missing = [name for name in needs if name not in file]
            if missing:
                raise DataError(
                    f"{path}: lacks dataset {missing[0]!r}; it is not the kind of file that this step reads"
                )
            for name in needs:
                dataset(file, name)
        yield file


def _require_sound_heaps(file: Any, path: str | Path) -> None:
    """Refuse a file whose heaps, in which texts lie, would keep the HDF5 library (at least to 1.14) in a loop for ever.

    A heap is a list of objects, each of which says where the next begins; the library follows without looking.

    Source: HDF5 File Format Specification 3.0, III.E. Global Heap.
    """
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise DataError(f"{path}: has addresses of another size than h5py writes; make it again")
    with Path(path).open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = 0
        for end, beyond in [*_numbers(file), (len(content), 0)]:
            while (start := content.find(b"GCOL", start, end)) >= 0:
                if not _is_sound_heap(content, start):
                    raise DataError(f"{path}: is damaged, its texts cannot be found; make it again")
                start += 4
            start = beyond


def _numbers(file: Any) -> list[tuple[int, int]]:
    """Return where the large arrays of numbers lie, in order: a matrix of gigabytes need not be looked through."""
    places = []
    for name in file:
        if isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Dataset):
            start, length = file[name].id.get_offset(), file[name].id.get_storage_size()
            if start is not None and length > _SMALL and file[name].dtype.kind in "fiu":
                places.append((start, start + length))
    return sorted(places)


def _is_sound_heap(content: mmap.mmap, start: int) -> bool:
    if len(content) < start + 16 or content[start + 4] != 1:
        return True  # the letters stand there by chance, or the library refuses them itself
    end = start + int.from_bytes(content[start + 8 : start + 16], "little")
    if end > len(content):
        return True  # as above
    place = start + 16
    while end - place >= 16:
        used = any(content[place : place + 2])
        size = int.from_bytes(content[place + 8 : place + 16], "little")
        length = 16 + -(-size // 8) * 8 if used else size
        if not 16 <= length <= end - place:
            return False
        place += length
    return True


def dataset(file: Any, name: str, *, ndim: int | None = None, kinds: str | None = None) -> Any:
    """Return a dataset of an open file.

    Args:
        file: open HDF5 file.
        name: of the dataset, with the groups that it is in.
        ndim: dimensions that it must have.
        kinds: NumPy's letters of the kinds of numbers that it may hold, for example "f" for floating point.

    Raises:
        DataError: if it is a group, lies in another file (a link could name any file of this machine), claims more data
            than the file can hold, or has another shape or type.
    """
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:count]), getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise DataError(f"{file.filename}: {name!r} is a link to somewhere else; copy the data into the file")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise DataError(f"{file.filename}: {name!r} is no dataset; make the file again")
    if found.is_virtual or found.external:
        raise DataError(f"{file.filename}: {name!r} lies in other files; copy the data into this one")
    claimed = found.size * found.dtype.itemsize
    stored = min(found.id.get_storage_size(), Path(file.filename).stat().st_size)  # the first is a claim, too
    if claimed > max(_SMALL, stored * (1 if found.chunks is None else _MOST_GROWTH)):
        raise DataError(f"{file.filename}: {name!r} claims {claimed:,} bytes, but {stored:,} are there; make it again")
    if (ndim is not None and found.ndim != ndim) or (kinds is not None and found.dtype.kind not in kinds):
        raise DataError(
            f"{file.filename}: {name!r} holds {found.dtype} of shape {found.shape}, not what this step reads; make it again"
        )
    return found


def write_keys(file: Any, name: str, keys: Sequence[str]) -> None:
    """Store a list of keys under `name`."""
    file.create_dataset(name, data=np.array(keys, dtype=object), dtype=_TEXT)


def read_keys(file: Any, name: str, *, expected: int) -> list[str]:
    """Read a list of keys that must have `expected` entries."""
    with readable(file.filename, "HDF5"):
        found = dataset(file, name, ndim=1)
        _require_texts(file, name, found)
        keys = [str(key) for key in found.asstr()[:]]
    if len(keys) != expected:
        raise DataError(f"{file.filename}: {len(keys)} {name} for {expected} rows of data; make the file again")
    return keys


def _require_texts(file: Any, name: str, found: Any) -> None:
    """Refuse texts that claim more bytes than the file has, before the HDF5 library takes memory for them.

    Source: HDF5 File Format Specification 3.0, IV.B: length, address and number of each text's object in a heap.
    """
    start = found.id.get_offset()
    if start is None or h5py.check_string_dtype(found.dtype) is None:
        raise DataError(
            f"{file.filename}: {name!r} holds no texts in one piece, as this program writes them; make it again"
        )
    parts = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])
    with Path(file.filename).open("rb") as raw:
        raw.seek(start)
        content = raw.read(found.size * parts.itemsize)
    claimed, size = (
        int(np.frombuffer(content, parts)["length"].sum(dtype=np.uint64)),
        Path(file.filename).stat().st_size,
    )
    if claimed > size:
        raise DataError(
            f"{file.filename}: {name!r} claims texts of {claimed:,} bytes in a file of {size:,}; make the file again"
        )


def read_npz(
    path: str | Path,
    name: str,
    *,
    most_bytes: int | None = None,
    advice: str = "it must be an npz as `np.savez` writes it",
) -> np.ndarray:
    """Read one array of an npz file; no code in the file is run, and nothing is unpacked beyond `most_bytes`.

    Args:
        path: of the file.
        name: of the array.
        most_bytes: that the array may have; a hundred times the file unless given.
        advice: the way out, for messages.

    Raises:
        DataError: if the file is absent or damaged, has no such array, or that is too large or no array of numbers.
    """
    if not Path(path).exists():
        raise DataError(f"{path}: does not exist; {advice}")
    if most_bytes is None:
        most_bytes = _SMALL + 100 * Path(path).stat().st_size
    with (
        readable(path, repr(name), advice, verdict="holds no array"),
        zipfile.ZipFile(path) as archive,
        archive.open(f"{name}.npy") as member,
    ):
        content = member.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise DataError(f"{path}: {name!r} has more than the {most_bytes:,} bytes that can be meant; {advice}")
        file = io.BytesIO(content)
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, kind = header(file)
        if int(np.prod([int(side) for side in shape], dtype=object)) * kind.itemsize > len(content):
            raise DataError(f"{path}: {name!r} claims the shape {shape}, but the data is not there; {advice}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
