"""Weight files: safetensors with the options and software versions they were trained with, and state dicts of other programs.

Not here: building networks from options (generative/, encoders/).
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deepssim.errors import DataError, readable
from deepssim.runtime.private import obey_umask
from deepssim.runtime.provenance import versions

Network = TypeVar("Network", bound=nn.Module)

_ENTRY = "deepssim"  # one entry: safetensors writes several in random order, which would change the checksum


def save_weights(path: str | Path, network: nn.Module, kind: str, options: dict[str, Any]) -> None:
    """Write a network's weights with the metadata needed to rebuild it.

    Args:
        path: safetensors file to write.
        network: network whose state dict is written.
        kind: name of the architecture, checked on loading.
        options: plain values from which the architecture is built.
    """
    metadata = json.dumps({"kind": kind, "options": options, "versions": versions()}, sort_keys=True)
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


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return `kind`, `options` and `versions` of a weight file of this project; an empty dict for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
            return found if isinstance(found, dict) else {}
    except Exception:  # not safetensors, hence not a file of this project
        return {}


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a torch or safetensors file; no code in the file is executed.

    Returns:
        Tensors of any shape and dtype by name, on the CPU.

    Raises:
        DataError: if the file is neither, or holds anything but tensors.
    """
    if not Path(path).exists():
        raise DataError(f"{path}: does not exist; name an existing checkpoint")
    with readable(path, "a state dict of tensors", "save `network.state_dict()`"):
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        require_not_packed(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path}: does not hold a state dict; save `network.state_dict()`")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


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
