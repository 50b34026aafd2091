"""Derive the seeds of all random number streams from the one seed of the config.

A stream is named by its purpose (stage, image key, step), never by a position in a batch, so that random numbers do not
depend on batch size, worker count and shard count.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """Return the seed of a random number stream, a hash, so that the streams of similar names are unrelated.

    Args:
        seed: the config's seed.
        names: purpose of the stream, for example `"generate", key`.

    Returns:
        Integer from 0 to 2**63 - 1, the same on every platform.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the NumPy generator of a random number stream.

    Args:
        seed: the config's seed.
        names: purpose of the stream.
    """
    return np.random.default_rng(derive_seed(seed, *names))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Return the PyTorch generator of a random number stream, on the CPU.

    Args:
        seed: the config's seed.
        names: purpose of the stream.
    """
    import torch  # takes seconds, and stages without networks use this module, too

    return torch.Generator().manual_seed(derive_seed(seed, *names))
