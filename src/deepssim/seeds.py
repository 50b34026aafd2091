"""Every random number of the project comes from one seed through here.

A stream is named by what it is for (stage, image key, step), never by its position in a batch, so batch size, worker
count and shard count change no result.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream that `names` describe.

    Args:
        seed: the one seed of the config.
        names: what the stream is for, for example `("generate", key)`.

    Source: SHA-256, so that neighbouring names give unrelated streams and no platform differs.
    """
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator of its own for the stream that `names` describe."""
    return np.random.default_rng(derive_seed(seed, *names))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator of its own for the stream that `names` describe."""
    import torch  # seconds to import, and stages without a network use this module too

    return torch.Generator().manual_seed(derive_seed(seed, *names))
