"""Read images from files of named arrays: HDF5 datasets, and tensors as PyTorch or safetensors store them; no code runs.

Not here: NumPy's files (arrays.py), which axes are images (layouts.py), the project's own HDF5 files (packs.py).
"""

import math
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, NotAnImage, readable
from deepssim.images.arrays import Named, is_array, may_be_encoded, named_contents, read_arrays
from deepssim.images.frames import Contents
from deepssim.images.layouts import MIN_SIDE, why_not
from deepssim.runtime.hdf5 import dataset, open_hdf5

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
TENSOR_SUFFIXES = (".pt", ".pth", ".safetensors")
_HEAD = 132  # bytes that tell a picture
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_ARRAYS, _MOST_DEPTH = 100_000, 8  # datasets or tensors of a file, and groups within each other
_WEIGHTS = (".weight", ".bias", ".running_mean", ".running_var", ".weight_g", ".weight_v", ".in_proj_weight")
_MOST_BLOCK = 2**26  # bytes read at once
_KERAS = ("kernel:0", "bias:0", "gamma:0")
_NETWORK = "holds the weights of a network, not images; save images as a tensor (N, C, H, W)"
_ELSEWHERE = "is a link to another file, which is not followed"


def is_hdf5(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of HDF5."""
    return head.startswith(_HDF5)


def is_tensors(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an archive of PyTorch."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head.startswith(b"PK\x03\x04") and name.endswith((b"/data.pkl", b"/.format_version"))


def read_hdf5_images(path: str | Path, *, percentiles: Sequence[float]) -> Contents:
    """Read the images of every dataset of an HDF5 file, image packs of this project included.

    Args:
        path: of the file. Links to other files are not followed.
        percentiles: intensity window of images without a natural range.

    Returns:
        As of `read_arrays`; datasets of other shapes and types, or stored in other files, are left out by name.

    Raises:
        NotAnImage: if no dataset has the shape of images, or they are the weights of a network saved by Keras.
        DataError: if the file is damaged, or the only datasets that may hold images are stored in other files.
    """
    import h5py

    with ExitStack() as opened:
        file = opened.enter_context(open_hdf5(path, needs=()))
        found: list[Named] = []
        with readable(path, "HDF5", "replace it"):
            _visit(file, "", found, {h5py.h5g.get_objinfo(file.id).objno}, _Block())
        if any(array.name.endswith(_KERAS) or "/vars/" in array.name for array in found):
            raise NotAnImage(f"{path}: {_NETWORK}")
        later = opened.pop_all()
    try:
        return named_contents(found, path, percentiles, "HDF5", later.close)
    except BaseException:
        later.close()
        raise


@dataclass
class _Block:
    """The part of a file that was read last; shared by its datasets, so that memory does not grow with their number."""

    owner: Any = None
    start: int = -1
    values: Any = None


class _Rows:
    """A dataset that is read by whole chunks, since each access decompresses whole chunks."""

    def __init__(self, stored: Any, block: _Block):
        self._stored, self._block = stored, block
        rows = stored.chunks[0] if stored.chunks else 1
        row_bytes = stored.dtype.itemsize * math.prod(stored.shape[1:])
        self._rows = max(1, min(rows, _MOST_BLOCK // max(1, row_bytes)))

    def __getitem__(self, key: Any) -> Any:
        if self._rows == 1 or not key or not isinstance(key[0], int):
            return self._stored[key]
        block, start = self._block, key[0] // self._rows * self._rows
        if block.owner is not self or block.start != start:
            block.values = self._stored[start : start + self._rows]
            block.owner, block.start = self, start
        return block.values[(key[0] - start, *key[1:])]


def _visit(group: Any, place: str, found: list[Named], seen: set[Any], block: _Block) -> None:
    """Collect the datasets below a group, each once; soft links lead to what is found under another name anyway."""
    import h5py

    if place.count("/") > _MOST_DEPTH:
        raise DataError(f"{group.file.filename}: has groups within groups, too deep; copy the images into another file")
    for name in group:
        full = f"{place}/{name}" if place else name
        if len(found) >= _MOST_ARRAYS:
            raise DataError(
                f"{group.file.filename}: has more than {_MOST_ARRAYS:,} datasets; split it into several files"
            )
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            found.append(Named(full, (), np.dtype("V1"), refused=_ELSEWHERE))
        if not isinstance(link, h5py.HardLink):
            continue
        info = h5py.h5g.get_objinfo(group.id, name.encode("utf-8", "surrogateescape"))
        if info.objno in seen:
            continue
        seen.add(info.objno)
        if info.type == h5py.h5g.GROUP:
            _visit(group[name], full, found, seen, block)
        elif info.type == h5py.h5g.DATASET:
            found.append(_dataset(group.file, full, block))


def _dataset(file: Any, name: str, block: _Block) -> Named:
    try:
        stored = dataset(file, name)
    except DataError as error:
        reason = str(error).removeprefix(f"{file.filename}: ").removeprefix(f"{name!r} ").partition("; ")[0]
        return Named(name, (), np.dtype("S1" if _is_text(file, name) else "V1"), refused=reason)
    head = b""
    if may_be_encoded(stored.shape, stored.dtype) and 0 not in stored.shape:
        first = stored[:_HEAD] if stored.dtype.kind == "u" else stored[(0,) * len(stored.shape)]
        head = first.tobytes()[:_HEAD]
    return Named(name, stored.shape, stored.dtype, _Rows(stored, block), head=head)


def _is_text(file: Any, name: str) -> bool:
    import h5py

    return isinstance(h5py.h5d.open(file.id, name.encode("utf-8", "surrogateescape")).get_type(), h5py.h5t.TypeStringID)


def read_tensors(path: str | Path, *, percentiles: Sequence[float]) -> Contents:
    """Read the images of a PyTorch or safetensors file: a tensor, or dicts and lists of tensors.

    Args:
        path: of the file; it is loaded with `weights_only`, so that no code in it runs.
        percentiles: intensity window of images without a natural range.

    Returns:
        As of `read_arrays`; other tensors are left out by name.

    Raises:
        NotAnImage: if it holds the weights of a network, or no tensor has the shape of images.
        DataError: if it is damaged, or holds Python objects, which are not loaded.
    """
    with readable(path, "tensors", "save a tensor of numbers with `torch.save`"):
        with Path(path).open("rb") as file:
            head = file.read(132)
        if is_array(head):
            return read_arrays(path, percentiles=percentiles)
        safe = Path(path).suffix.lower() == ".safetensors"
        tensors = _safe_tensors(path) if safe else dict(_flattened(_loaded(path), "", set(), path))
    if _are_weights(tensors):
        tensors = _beside_weights(tensors)
        if not any(_may_be_images(value) for value in tensors.values()):
            raise NotAnImage(f"{path}: {_NETWORK}")
    return named_contents([_named(name, value) for name, value in tensors.items()], path, percentiles, "tensors")


def _safe_tensors(path: str | Path) -> dict[str, Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        if _are_weights(names):
            raise NotAnImage(f"{path}: {_NETWORK}")
        return {name: file.get_tensor(name) for name in names}


def _loaded(path: str | Path) -> Any:
    import torch

    from deepssim.runtime.weights import require_not_packed  # which imports torch

    packed = zipfile.is_zipfile(path)
    if packed:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
            raise NotAnImage(f"{path}: {_NETWORK}")
    require_not_packed(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower():
            raise
        raise DataError(
            f"{path}: holds Python objects, which are not loaded because they could run code; save a tensor of numbers"
        ) from None


def _flattened(content: Any, place: str, seen: set[int], path: str | Path) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of nested dicts and lists with their names; a list that occurs several times is entered once."""
    import torch

    if isinstance(content, torch.Tensor | bytes) or _is_nested(content):
        yield place, content
    elif isinstance(content, Mapping | list | tuple) and id(content) not in seen:
        seen.add(id(content))
        if place.count("/") > _MOST_DEPTH or len(content) > _MOST_ARRAYS:
            raise DataError(
                f"{path}: has more than {_MOST_ARRAYS:,} entries, or lists within lists; save one tensor instead"
            )
        for name, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _flattened(value, f"{place}/{name}" if place else str(name), seen, path)


def _are_weights(names: Iterable[str]) -> bool:
    """Return whether names are those of the layers of a network: `conv.weight`, or `weight` and `bias`."""
    last = {name.rpartition("/")[2] for name in names}
    return {"weight", "bias"} <= last or any("." in name and name.endswith(_WEIGHTS) for name in last)


def _beside_weights(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a checkpoint that are not its network's: in another dict, and of another shape than any weight.

    Checkpoints hold samples, too; the states of an optimizer have the shapes of the weights.
    """
    weights = [name for name in tensors if _are_weights([name]) or name.rpartition("/")[2] in ("weight", "bias")]
    places = {name.rpartition("/")[0] for name in weights}
    shapes = {_shape(tensors[name]) for name in weights}
    return {
        name: value
        for name, value in tensors.items()
        if name.rpartition("/")[0] not in places and _shape(value) not in shapes
    }


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(getattr(value, "shape", ()))


def _may_be_images(value: Any) -> bool:
    return isinstance(value, bytes | list) or not why_not(_shape(value), np.dtype(np.float32))


def _is_nested(content: Any) -> bool:
    """Return whether this is a list of equally long lists of numbers, as `tolist` makes of an image."""
    rows = content if isinstance(content, list | tuple) else ()
    return len(rows) >= MIN_SIDE and all(
        isinstance(row, list | tuple) and len(row) == len(rows[0]) >= MIN_SIDE and isinstance(row[0], int | float)
        for row in rows
    )


def _named(name: str, tensor: Any) -> Named:
    import torch

    if isinstance(tensor, bytes):
        return Named(name, (len(tensor),), np.dtype("S1"), head=tensor[:_HEAD])
    if isinstance(tensor, list | tuple):
        return Named(name, (), np.dtype("O"), refused="is a list of lists of numbers; save a tensor instead")
    shape = tuple(tensor.shape)
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return Named(name, shape, np.dtype("V1"), refused="is sparse, quantized or without values")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return Named(name, shape, np.dtype("V1"), refused="declares more values than are stored")
    values = _Values(tensor.detach())
    head = values[:_HEAD].tobytes() if may_be_encoded(shape, values.kind) else b""
    return Named(name, shape, values.kind, values, head=head)


class _Values:
    """A tensor that is indexed into NumPy arrays; types that NumPy lacks become float32."""

    def __init__(self, tensor: Any):
        import torch

        lacking = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
        self._tensor, self._convert = tensor, lacking
        self.kind = np.dtype(np.float32) if lacking else torch.empty(0, dtype=tensor.dtype).numpy().dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        values = self._tensor[key]
        found: np.ndarray = (values.float() if self._convert else values.resolve_conj().resolve_neg()).numpy()
        return found
