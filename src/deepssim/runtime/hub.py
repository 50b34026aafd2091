"""Distinguish names of models on the Hugging Face hub from weight files.

This module does not import torch, because the workflow loads it before any job.

Not here: weight files (weights.py).
"""

import re
from pathlib import Path

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_WEIGHT_FILES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")


def on_hub(weights: str) -> bool:
    """Return whether `weights` names a model on the Hugging Face hub, such as `openai/clip-vit-base-patch32`, not a file."""
    path = Path(weights)
    return bool(_HUB_NAME.fullmatch(weights)) and path.suffix not in _WEIGHT_FILES and not path.parent.is_dir()
