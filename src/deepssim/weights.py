"""Weight files: safetensors with the options and versions that made them, and state dicts of other programs.

Not here: building networks from options (generative/, encoders/).
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deepssim.errors import DataError
from deepssim.provenance import versions

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
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({error}); make it again") from None
    if about.get("kind") != kind:
        raise DataError(f"{path}: holds {about.get('kind', 'weights of another program')!r}, expected {kind!r}")
    return weights, about["options"]


def about(path: str | Path) -> dict[str, Any]:
    """Return what a weight file of this project says of itself: kind, options and versions; nothing for other files."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get(_ENTRY, "{}"))
    except (OSError, SafetensorError):
        return {}


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a file of torch or safetensors; no code in the file is run.

    Raises:
        DataError: if it is neither, or holds more than tensors.
    """
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; name an existing checkpoint") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path}: cannot be read as a state dict of tensors ({reason}); save `network.state_dict()`"
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path}: holds no state dict; save `network.state_dict()`")
    return {str(name).removeprefix("module."): value for name, value in content.items()}
