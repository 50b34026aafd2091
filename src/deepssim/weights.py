"""Weight files: safetensors with the options and versions that made them.

Not here: building networks from options (generative/, encoders/).
"""

import json
from pathlib import Path
from typing import Any

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
