"""Read images from files of named arrays: HDF5 datasets, and tensors as PyTorch or safetensors store them; no code runs.

Not here: NumPy's files (arrays.py), which axes are images (layouts.py), the project's own HDF5 files (packs.py).
"""

import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.errors import DataError, NotAnImage, readable
from deepssim.images.arrays import Named, is_array, named_contents, read_arrays
from deepssim.images.frames import Contents
from deepssim.runtime.hdf5 import dataset, open_hdf5

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
TENSOR_SUFFIXES = (".pt", ".pth", ".safetensors")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_ARRAYS, _MOST_DEPTH = 100_000, 8  # datasets or tensors of a file, and groups within each other
_WEIGHTS = (".weight", ".bias", ".running_mean", ".running_var", ".weight_g", ".weight_v", ".in_proj_weight")
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
            _visit(file, "", found, {h5py.h5g.get_objinfo(file.id).objno})
        if any(array.name.endswith(_KERAS) or "/vars/" in array.name for array in found):
            raise NotAnImage(f"{path}: {_NETWORK}")
        later = opened.pop_all()
    try:
        return named_contents(found, path, percentiles, "HDF5", later.close)
    except BaseException:
        later.close()
        raise


def _visit(group: Any, place: str, found: list[Named], seen: set[Any]) -> None:
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
            _visit(group[name], full, found, seen)
        elif info.type == h5py.h5g.DATASET:
            found.append(_dataset(group.file, full))


def _dataset(file: Any, name: str) -> Named:
    try:
        stored = dataset(file, name)
    except DataError as error:
        reason = str(error).removeprefix(f"{file.filename}: ").removeprefix(f"{name!r} ").partition("; ")[0]
        return Named(name, (), np.dtype("V1"), refused=reason)
    return Named(name, stored.shape, stored.dtype, stored)


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

    if isinstance(content, torch.Tensor):
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


def _named(name: str, tensor: Any) -> Named:
    import torch

    shape = tuple(tensor.shape)
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return Named(name, shape, np.dtype("V1"), refused="is sparse, quantized or without values")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return Named(name, shape, np.dtype("V1"), refused="declares more values than are stored")
    values = _Values(tensor.detach())
    return Named(name, shape, values.kind, values)


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
