"""Weight files: safetensors with the options and versions that made them, and state dicts of other programs.

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
from deepssim.runtime.provenance import versions

Network = TypeVar("Network", bound=nn.Module)

_ENTRY = "deepssim"  # one entry, because safetensors writes several in random order and checksums would differ


def save_weights(path: str | Path, network: nn.Module, kind: str, options: dict[str, Any]) -> None:
    """Write a network's weights; `kind` and `options` say how to rebuild it."""
    about = json.dumps({"kind": kind, "options": options, "versions": versions()}, sort_keys=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, path, metadata={_ENTRY: about})


def load_weights(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and options.

    Raises:
        DataError: if the file is damaged or holds another kind of network.
    """
    with readable(path, "safetensors"):
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
        weights = load_file(path)
        if about.get("kind") != kind:
            raise DataError(f"{path}: holds {about.get('kind', 'weights of another program')!r}, expected {kind!r}")
        return weights, dict(about["options"])


def rebuild(path: str | Path, weights: dict[str, Tensor], layers: int, build: Callable[[], Network]) -> Network:
    """Build a network from the options in its file and fill it, in evaluation mode on the CPU.

    Args:
        path: of the file, for messages.
        weights: what it holds.
        layers: that the options ask for; each needs a weight, so more than weights are not built.
        build: makes the network.

    Raises:
        DataError: if options and weights do not fit; this is found before memory is taken for what options ask for.
    """
    with readable(path, "weights that fit their options"):
        if layers > len(weights):
            raise DataError(
                f"{path}: its options ask for {layers} layers, but it holds {len(weights)} weights; make it again"
            )
        with torch.device("meta"):
            expected = {name: value.shape for name, value in build().state_dict().items()}
        found = {name: value.shape for name, value in weights.items()}
        if found != expected:
            wrong = sorted(name for name in found | expected if found.get(name) != expected.get(name))
            raise DataError(f"{path}: {len(wrong)} weights do not fit its options, first {wrong[0]!r}; make it again")
        network = build()
        network.load_state_dict(weights)
    return network.eval()


def about(path: str | Path) -> dict[str, Any]:
    """Return what a weight file of this project says of itself: kind, options and versions; nothing for other files."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
            return found if isinstance(found, dict) else {}
    except Exception:  # whatever it is, it is no file of this project
        return {}


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a file of torch or safetensors; no code in the file is run.

    Raises:
        DataError: if it is neither, or holds more than tensors.
    """
    if not Path(path).exists():
        raise DataError(f"{path}: does not exist; name an existing checkpoint")
    with readable(path, "a state dict of tensors", "save `network.state_dict()`"):
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        _require_not_packed(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path}: holds no state dict; save `network.state_dict()`")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _require_not_packed(path: str | Path) -> None:
    """Refuse an archive that unpacks to much more than it is; torch stores tensors as they are."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > 2 * Path(path).stat().st_size + 1_000_000:
            raise DataError(f"{path}: would unpack to {unpacked:,} bytes, which no checkpoint does; save it again")
