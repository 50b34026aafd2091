"""Read NIfTI volumes.

Not here: slicing them (volumes.py), choosing the reader of a file (files.py).
"""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepssim.errors import DataError, readable
from deepssim.images.frames import require_finite, require_room
from deepssim.images.standardize import window

NIFTI_SUFFIXES = (".nii", ".nii.gz")
_MAX_BYTES, _CHUNK = 2**31, 2**24
_GZIP = b"\x1f\x8b"


def read_nifti(path: str | Path, *, percentiles: Sequence[float]) -> np.ndarray:
    """Read a 3D NIfTI volume, reoriented so that its axes point right, anterior and superior (RAS).

    Args:
        path: NIfTI-1 or NIfTI-2, gzipped or not.
        percentiles: intensity window over the whole volume (see `window`).

    Returns:
        float32, shape (X, Y, Z), 0 to 1; a file of a single plane is a volume with Z = 1.

    Raises:
        DataError: if the file is damaged, or has fewer than two or more than three dimensions.
    """
    import nibabel

    with readable(path, "NIfTI", "replace it"):
        content = _uncompressed(path)
        # The first field is the length of the header, in either byte order; NIfTI-2's is 540.
        kind = nibabel.Nifti2Image if {content[:4]} & {b"\x1c\x02\0\0", b"\0\0\x02\x1c"} else nibabel.Nifti1Image
        volume = kind.from_bytes(content)
        require_room(volume.shape, path)
        values = np.squeeze(np.asarray(nibabel.as_closest_canonical(volume).dataobj, dtype=np.float32))
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3:
        raise DataError(f"{path}: has {values.ndim} dimensions; expected one 3D volume")
    return window(require_finite(values, path), percentiles)


def _uncompressed(path: str | Path) -> bytes:
    """Return the content of a file, decompressed, as long as it is not larger than a volume can be."""
    content = bytearray()
    with Path(path).open("rb") as raw:
        packed = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        while chunk := file.read(_CHUNK):  # in one call, memory for all of it would be reserved before the check
            content += chunk
            if len(content) > _MAX_BYTES:
                raise DataError(
                    f"{path}: has more than {_MAX_BYTES / 1e9:.1f} GB, too much for one volume; split it into several files"
                )
    return bytes(content)
