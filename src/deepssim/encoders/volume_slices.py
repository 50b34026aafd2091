"""Volumes for an encoder of images: slices to learn from, and pooled embeddings of slices.

An embedding of a volume consists of those of slices at the same places of every volume, so that the cosine of two volumes is
the mean of the cosines of their slices. Slices along all three axes are taken: a flip along one axis reorders the slices along it, but
leaves those along the other two in their places.

Not here: the encoder (deepssim.py), exact SSIM of volumes (similarity/ssim_volumes.py).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from deepssim.errors import DataError
from deepssim.images.keys import SEPARATOR, split_key
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.tiles import pair_scores

SLICES = 8  # along each axis, evenly spaced
_MARGIN = 0.2  # of an axis on both sides, where heads and chests end
_VOLUMES_AT_A_TIME = 64


def places(side: int) -> np.ndarray:
    """Return the indices of the slices that are taken along an axis, int64, at most `SLICES`.

    Args:
        side: number of slices along it.
    """
    return np.unique(np.linspace(_MARGIN * (side - 1), (1 - _MARGIN) * (side - 1), SLICES).round().astype(int))


def embed_volumes(pack: ImagePack, embed: Callable[[ImagePack], Embeddings]) -> Embeddings:
    """Embed volumes by an encoder of images.

    Args:
        pack: volumes, in memory or open.
        embed: embeds a pack of images of any size.

    Returns:
        Embeddings of the volumes: those of their slices, each of norm 1, one after the other.

    Raises:
        DataError: if an embedding of a slice is all zero.
    """
    parts: list[np.ndarray] = []
    found = None
    for start in range(0, len(pack.keys), _VOLUMES_AT_A_TIME):
        chosen = slice(start, start + _VOLUMES_AT_A_TIME)
        volumes, keys = pack.images[chosen], pack.keys[chosen]
        of_axes = []
        for axis in (1, 2, 3):
            slices = np.take(volumes, places(volumes.shape[axis]), axis=axis)
            flat = np.moveaxis(slices, axis, 1).reshape(-1, *np.delete(slices.shape[1:], axis - 1))
            found = embed(
                ImagePack(flat, [f"{key} {axis} {place}" for key in keys for place in range(slices.shape[axis])])
            )
            of_axes.append(_directions(found).reshape(len(keys), -1))
        parts.append(np.concatenate(of_axes, axis=1))
    if found is None:
        raise DataError("the pack holds no volumes to embed")
    return replace(found, values=np.concatenate(parts), keys=pack.keys)


def _directions(found: Embeddings) -> np.ndarray:
    norms = np.linalg.norm(found.values, axis=1, keepdims=True)
    empty = np.flatnonzero(norms[:, 0] == 0)
    if empty.size:
        raise DataError(
            f"the embeddings of {empty.size} of {len(norms)} slices are all zero, first of {found.keys[empty[0]]!r}; check the "
            "volume and the encoder"
        )
    return found.values / norms


def slices_to_learn(pack: ImagePack) -> ImagePack:
    """Return axial slices of volumes, each an image of a record of its own; a pack of images itself.

    Args:
        pack: images or volumes in memory.

    Returns:
        Slices of volumes that are not constant, with keys as `<image_uid>_slice-012___<name>`.
    """
    if pack.spatial_dims == 2:
        return pack
    chosen = places(pack.images.shape[1])
    images = pack.images[:, chosen].reshape(-1, *pack.images.shape[2:])
    keys = [slice_key(key, place) for key in pack.keys for place in chosen]
    kept = np.flatnonzero(images.max(axis=(1, 2)) > images.min(axis=(1, 2)))
    return ImagePack(images[kept], [keys[row] for row in kept])


def slice_key(key: str, place: int) -> str:
    """Return the key of a slice.

    Args:
        key: of the volume.
        place: index of the slice.
    """
    record, name = split_key(key)
    return f"{record}_slice-{place:03d}{SEPARATOR}{name}"


def pairs_of_slices(pairs: pd.DataFrame, real: ImagePack, synthetic: ImagePack, *, threads: int = 1) -> pd.DataFrame:
    """Return the pairs of slices at the same places of pairs of volumes; the table itself, of images.

    Args:
        pairs: table with `real_key`, `synth_key` and `ssim`.
        real, synthetic: packs that hold them.
        threads: processor threads.

    Returns:
        A table with these columns: SSIM is that of the slices. Pairs of which a slice is constant are left out.
    """
    if real.spatial_dims == 2:
        return pairs
    rows, columns = (
        slices_to_learn(pack.select(list(dict.fromkeys(pairs[name]))))
        for pack, name in ((real, "real_key"), (synthetic, "synth_key"))
    )
    chosen = places(real.images.shape[1])
    both = [
        (slice_key(first, place), slice_key(second, place))
        for first, second in zip(pairs["real_key"], pairs["synth_key"], strict=True)
        for place in chosen
    ]
    both = [(first, second) for first, second in both if first in rows.index and second in columns.index]
    comparison = SsimComparison(rows, columns, threads=threads)
    indices = np.array([(rows.index[first], columns.index[second]) for first, second in both], np.int64).reshape(-1, 2)
    table = pd.DataFrame(both, columns=["real_key", "synth_key"])
    return table.assign(ssim=pair_scores(comparison, indices[:, 0], indices[:, 1]).astype(np.float64))
