"""Latents of the real images: files, scaling and padding.

Not here: the networks (autoencoder.py, diffusion.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from deepssim.errors import DataError, readable
from deepssim.runtime.hdf5 import dataset, open_hdf5, read_keys, read_number_attribute, write_keys


@dataclass(frozen=True)
class Latents:
    """Latents with their keys.

    Attributes:
        values: float32 (N, C, h, w), or (N, C, d, h, w) of volumes, output of the encoder.
        keys: N image keys.
        scale: factor that brings the training latents to standard deviation 1; the diffusion model works on
            `values * scale`.
        conditions: float32 (N, T, D), T tokens of D values per image; None without conditioning.
    """

    values: np.ndarray
    keys: list[str]
    scale: float
    conditions: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of a latent; channels, depth, height and width of that of a volume."""
        return self.values.shape[1:]

    @property
    def spatial_dims(self) -> int:
        """2 for latents of images, 3 for those of volumes."""
        return self.values.ndim - 2

    def select(self, keys: Sequence[str]) -> "Latents":
        """Return the latents of some image keys, in that order.

        Raises:
            DataError: if a key has no latent.
        """
        index = {key: row for row, key in enumerate(self.keys)}
        absent = [key for key in keys if key not in index]
        if absent:
            raise DataError(
                f"{len(absent)} of {len(keys)} images have no latent, first {absent[0]!r}; encode them again"
            )
        rows = [index[key] for key in keys]
        conditions = None if self.conditions is None else self.conditions[rows]
        return Latents(self.values[rows], list(keys), self.scale, conditions)


def write_latents(path: str | Path, latents: Latents) -> None:
    """Write latents to HDF5.

    Args:
        path: file to write.
        latents: latents with scale and conditions.
    """
    with h5py.File(path, "w") as file:
        file.create_dataset("latents", data=latents.values)
        file.attrs["scale"] = latents.scale
        if latents.conditions is not None:
            file.create_dataset("conditions", data=latents.conditions)
        write_keys(file, "keys", latents.keys)


def read_latents(path: str | Path) -> Latents:
    """Read latents from HDF5.

    Raises:
        DataError: if the file is damaged or does not hold latents.
    """
    with open_hdf5(path, needs=("latents", "keys")) as file, readable(path, "latents"):
        stored = dataset(file, "latents", kinds="f")
        if stored.ndim not in (4, 5):
            raise DataError(f"{path}: holds latents of shape {stored.shape}, expected (N, C, h, w) or (N, C, d, h, w)")
        values = stored[:]
        conditions = dataset(file, "conditions", ndim=3, kinds="f")[:] if "conditions" in file else None
        keys = read_keys(file, "keys", expected=len(values))
        scale = read_number_attribute(file, "scale")
        if not 0 < scale < float("inf") or (conditions is not None and len(conditions) != len(values)):
            raise DataError(f"{path}: its scale {scale} or its conditions do not fit its latents; encode them again")
        return Latents(values, keys, scale, conditions)


def padding(size: Sequence[int], divisor: int) -> tuple[int, ...]:
    """Return the padding that makes all sides divisible, as symmetric as possible.

    Args:
        size: height and width, or depth, height and width.
        divisor: number by which they must become divisible.

    Returns:
        Left, right, top and bottom padding, and front and back of volumes, in the order of `torch.nn.functional.pad`.
    """
    both = [(-side % divisor // 2, -side % divisor - -side % divisor // 2) for side in reversed(size)]
    return tuple(width for sides in both for width in sides)


def pad(latents: Tensor, divisor: int) -> Tensor:
    """Pad latents with zeros to a size that the diffusion network accepts.

    Args:
        latents: (N, C, h, w) or (N, C, d, h, w).
        divisor: see `diffusion.size_divisor`.

    Returns:
        (N, C, ...), each side with its padding, same dtype.
    """
    return F.pad(latents, padding(latents.shape[2:], divisor))


def crop(latents: Tensor, size: Sequence[int], divisor: int) -> Tensor:
    """Undo `pad`.

    Args:
        latents: padded latents, (N, C, H, W) or (N, C, D, H, W).
        size: height and width, or depth, height and width, before padding.
        divisor: that of `pad`.

    Returns:
        (N, C, *size), a view.
    """
    starts = reversed(padding(size, divisor)[::2])
    inside = tuple(slice(start, start + side) for start, side in zip(starts, size, strict=True))
    return latents[(slice(None), slice(None), *inside)]
