"""Weight files: safetensors with the options and software versions they were trained with, and state dicts of other programs.

Not here: building networks from options (generative/, encoders/).
"""

import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deepssim.config.choices import Orientation
from deepssim.errors import DataError, readable
from deepssim.runtime.private import obey_umask
from deepssim.runtime.provenance import versions

Network = TypeVar("Network", bound=nn.Module)

_ENTRY = "deepssim"  # one entry: safetensors writes several in random order, which would change the checksum
_ORIENTATION = "orientation"
_ADVICE = "save `network.state_dict()`"


def save_weights(
    path: str | Path, network: nn.Module, kind: str, options: dict[str, Any], orientation: Orientation | None = None
) -> None:
    """Write a network's weights with the metadata needed to rebuild it.

    Args:
        path: safetensors file to write.
        network: network whose state dict is written.
        kind: name of the architecture, checked on loading.
        options: plain values from which the architecture is built.
        orientation: of the images that the network was trained on, where it matters: for those of a generator.
    """
    entries = {"kind": kind, "options": options, "versions": versions()}
    if orientation is not None:
        entries[_ORIENTATION] = orientation.value
    metadata = json.dumps(entries, sort_keys=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, path, metadata={_ENTRY: metadata})
    obey_umask(path)


def load_weights(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and options.

    Args:
        path: file written by `save_weights`.
        kind: expected name of the architecture.

    Returns:
        State dict with tensors of the shape and dtype saved, on the CPU; and the options.

    Raises:
        DataError: if the file is damaged or holds another kind of network.
    """
    with readable(path, "safetensors"):
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
        weights = load_file(path)
        if metadata.get("kind") != kind:
            raise DataError(f"{path}: holds {metadata.get('kind', 'weights of another program')!r}, expected {kind!r}")
        return weights, dict(metadata["options"])


def rebuild(path: str | Path, weights: dict[str, Tensor], layers: int, build: Callable[[], Network]) -> Network:
    """Build a network and load its weights, in evaluation mode on the CPU.

    Args:
        path: weight file, for messages.
        weights: its state dict; shape and dtype of each tensor as in the network.
        layers: number of layers that the options specify; each needs a weight, so a larger number is refused.
        build: function that builds the network from the options.

    Raises:
        DataError: if options and weights do not match; detected before memory for the network is allocated.
    """
    with readable(path, "weights that fit their options"):
        if layers > len(weights):
            raise DataError(
                f"{path}: its options specify {layers} layers, but it holds {len(weights)} weights; "
                "rerun the step that writes this file"
            )
        with torch.device("meta"):
            expected = {name: value.shape for name, value in build().state_dict().items()}
        found = {name: value.shape for name, value in weights.items()}
        if found != expected:
            wrong = sorted(name for name in found | expected if found.get(name) != expected.get(name))
            raise DataError(
                f"{path}: {len(wrong)} weights do not match its options, first {wrong[0]!r}; "
                "rerun the step that writes this file"
            )
        network = build()
        network.load_state_dict(weights)
    return network.eval()


def spatial_dims_of(weights: Mapping[str, Tensor]) -> int:
    """Return whether a network's convolutions are of images or of volumes: 2 or 3.

    Args:
        weights: its state dict, tensors of any shape and dtype by name.
    """
    return 3 if any(value.ndim == 5 for value in weights.values()) else 2


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return `kind`, `options` and `versions` of a weight file of this project; an empty dict for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
            return found if isinstance(found, dict) else {}
    except Exception:  # not safetensors, hence not a file of this project
        return {}


def with_orientation(weights: Mapping[str, Tensor], orientation: Orientation) -> OrderedDict[str, Tensor]:
    """Return a state dict that records the orientation of the images that its network was trained on.

    The record is an entry of the attribute `_metadata`, in which torch keeps the versions of modules: `torch.save` writes it, and
    `load_state_dict` looks up the entries of modules only, so that other programs load the weights as before.

    Args:
        weights: tensors of any shape and dtype by name.
        orientation: of the training images.
    """
    content = OrderedDict(weights)
    content._metadata = OrderedDict({_ENTRY: {_ORIENTATION: orientation.value}})  # type: ignore[attr-defined]
    return content


def recorded_orientation(path: str | Path) -> Orientation | None:
    """Return the orientation of the images that a generator's network was trained on, if its file records it.

    Args:
        path: weight file of this project, or a state dict.

    Returns:
        The orientation; upright for files of this project from before it was recorded; None for state dicts that do not say.

    Raises:
        DataError: if the file does not exist, is neither, or records something else.
    """
    metadata = read_metadata(path)
    if metadata:
        recorded = metadata.get(_ORIENTATION, Orientation.UPRIGHT.value)
    elif Path(path).suffix == ".safetensors":
        _require_existing(path)
        return None
    else:
        with readable(path, "a state dict of tensors", _ADVICE):
            entries = getattr(_read_torch(path, mmap=True), "_metadata", {})
            recorded = entries.get(_ENTRY, {}).get(_ORIENTATION)
    try:
        return None if recorded is None else Orientation(recorded)
    except ValueError:
        raise DataError(f"{path}: records the orientation {recorded!r}; expected {' or '.join(Orientation)}") from None


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a torch or safetensors file; no code in the file is executed.

    Returns:
        Tensors of any shape and dtype by name, on the CPU.

    Raises:
        DataError: if the file is neither, or holds anything but tensors.
    """
    if Path(path).suffix == ".safetensors":
        _require_existing(path)
        with readable(path, "a state dict of tensors", _ADVICE):
            return load_file(path)
    return {str(name).removeprefix("module."): value for name, value in _read_torch(path).items()}


def _read_torch(path: str | Path, *, mmap: bool = False) -> Mapping[str, Tensor]:
    """Read the state dict of a torch file as it is; with `mmap`, tensors are read from disk only when they are used."""
    _require_existing(path)
    with readable(path, "a state dict of tensors", _ADVICE):
        require_not_packed(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path}: does not hold a state dict; {_ADVICE}")
    return content


def _require_existing(path: str | Path) -> None:
    if not Path(path).exists():
        raise DataError(f"{path}: does not exist; name an existing checkpoint")


def require_not_packed(path: str | Path) -> None:
    """Refuse compressed archives, which could exhaust memory; torch stores tensors uncompressed.

    Raises:
        DataError: if the file is an archive whose content is far larger than the file.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > 2 * Path(path).stat().st_size + 1_000_000:
            raise DataError(f"{path}: would unpack to {unpacked:,} bytes, far more than the file size; save it again")
