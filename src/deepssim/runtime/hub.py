"""Distinguish names of models on the Hugging Face hub from weight files, and download open_clip's checkpoints.

This module does not import torch, because the workflow loads it before any job.

Not here: weight files (weights.py).
"""

import re
from pathlib import Path

from deepssim.errors import DataError

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_WEIGHT_FILES = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")
_OPEN_CLIP = "hf-hub:"  # begins the names that open_clip gives to models on the hub
_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # first the one that needs no trust


def on_hub(weights: str) -> bool:
    """Return whether `weights` names a model on the Hugging Face hub, such as `openai/clip-vit-base-patch32`, not a file."""
    if weights.startswith(_OPEN_CLIP):
        return open_clip_repository(weights) is not None
    path = Path(weights)
    return bool(_HUB_NAME.fullmatch(weights)) and path.suffix not in _WEIGHT_FILES and not path.parent.is_dir()


def open_clip_repository(weights: str) -> str | None:
    """Return the repository that open_clip's name of a model stands for, None if `weights` is no such name.

    Args:
        weights: for example `hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224`.
    """
    name = weights.removeprefix(_OPEN_CLIP)
    return name if weights.startswith(_OPEN_CLIP) and _HUB_NAME.fullmatch(name) else None


def download_open_clip(repository: str) -> str:
    """Download the checkpoint of an open_clip model, unless it is in the hub's cache.

    Args:
        repository: its name on the hub.

    Returns:
        Path of the file in the cache.

    Raises:
        DataError: if it cannot be downloaded; with the file to download by hand.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    reason = f"the model has neither {' nor '.join(_OPEN_CLIP_FILES)}"
    for name in _OPEN_CLIP_FILES:
        try:
            return hf_hub_download(repository, name)
        except LocalEntryNotFoundError:
            reason = "huggingface.co cannot be reached"
            break
        except EntryNotFoundError:
            continue
        except Exception as error:  # of the network, of the hub and of its libraries
            reason = " ".join(str(error).split())[:200]
            break
    raise DataError(
        f"{_OPEN_CLIP}{repository}: cannot be downloaded ({reason}); download {_OPEN_CLIP_FILES[-1]} from "
        f"huggingface.co/{repository} and name that file"
    )
