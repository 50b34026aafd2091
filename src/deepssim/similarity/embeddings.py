"""Embeddings: one vector per image, with the name and checksum of the encoder.

Not here: the networks (encoders/), comparing embeddings (embedding_scores.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.keys import require_unique
from deepssim.runtime.hdf5 import (
    dataset,
    open_hdf5,
    read_keys,
    read_text_attribute,
    write_keys,
    write_text_attribute,
)


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of N images.

    Attributes:
        values: float32 (N, D).
        keys: N image keys.
        encoder: name of the encoder.
        checksum: SHA-256 of the encoder's weight file; only embeddings with the same checksum can be compared.
        source: file that they were read from, for messages.
    """

    values: np.ndarray
    keys: list[str]
    encoder: str
    checksum: str
    source: str = ""


def write_embeddings(path: str | Path, embeddings: Embeddings) -> None:
    """Write embeddings to HDF5.

    Args:
        path: file to write.
        embeddings: embeddings, stored as float32.
    """
    require_unique(embeddings.keys, str(path))
    with h5py.File(path, "w") as file:
        file.create_dataset("embeddings", data=embeddings.values.astype(np.float32))
        write_text_attribute(file, "encoder", embeddings.encoder)
        write_text_attribute(file, "checksum", embeddings.checksum)
        write_keys(file, "keys", embeddings.keys)


def read_embeddings(path: str | Path) -> Embeddings:
    """Read embeddings.

    Raises:
        DataError: if the file is damaged or does not hold embeddings.
    """
    with open_hdf5(path, needs=("embeddings", "keys")) as file, readable(path, "embeddings"):
        values = dataset(file, "embeddings", ndim=2, kinds="f")[:]
        return Embeddings(
            values,
            read_keys(file, "keys", expected=len(values)),
            read_text_attribute(file, "encoder"),
            read_text_attribute(file, "checksum"),
            str(path),
        )


def join_embeddings(paths: Sequence[str | Path]) -> Embeddings:
    """Read the embeddings of all shards, one after the other.

    Raises:
        DataError: if they come from different encoders.
    """
    parts = [read_embeddings(path) for path in paths]
    for part in parts[1:]:
        require_same_encoder(parts[0], part)
    keys = [key for part in parts for key in part.keys]
    values = np.concatenate([part.values for part in parts])
    return Embeddings(values, keys, parts[0].encoder, parts[0].checksum, parts[0].source)


def require_same_encoder(first: Embeddings, second: Embeddings) -> None:
    """Require embeddings that can be compared.

    Raises:
        DataError: if they come from different weights or have different lengths.
    """
    if first.checksum != second.checksum or first.values.shape[1:] != second.values.shape[1:]:
        raise DataError(
            f"{second.source or 'synthetic embeddings'}: come from encoder {second.encoder} ({second.checksum[:12]}), those of "
            f"{first.source or 'real images'} from {first.encoder} ({first.checksum[:12]}); embed both with the same weights"
        )
