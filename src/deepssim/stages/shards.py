"""Parts of the synthetic images, and all of them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepssim.images.packs import ImagePack


def shard_of(items: Sequence[str], shard: int, shards: int) -> list[str]:
    """Return the part of a list that belongs to one of `shards` consecutive parts of nearly equal length."""
    start, stop = (len(items) * edge // shards for edge in (shard, shard + 1))
    return list(items[start:stop])


def join_packs(paths: Sequence[str]) -> ImagePack:
    """Read image packs as one."""
    import numpy as np

    from deepssim.images.packs import ImagePack, read_pack

    packs = [read_pack(path) for path in paths]
    return ImagePack(np.concatenate([pack.images for pack in packs]), [key for pack in packs for key in pack.keys])
