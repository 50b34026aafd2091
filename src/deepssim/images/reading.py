"""Read image files: PNG, JPEG, TIFF (8 and 16 bit) and slices of NIfTI volumes.

Not here: which files belong to a dataset (datasets/sources.py).
"""

import gzip
import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from deepssim.errors import DataError, readable
from deepssim.images.standardize import window

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
# By content, whatever the name says: Pillow would hand a file that begins like PostScript to another program.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
MOST_VALUES = 2**28  # of a volume or of all frames; a CT of the whole body has half of that, and float32 takes 1 GB
_MOST_BYTES, _PIECE = 2**31, 2**24
VOLUME_SUFFIXES = (".nii", ".nii.gz")

Item = TypeVar("Item")
Content = TypeVar("Content")


def read_each(
    items: Sequence[Item], read: Callable[[Item], Content], *, threads: int, place: str, total: int | None = None
) -> list[Content]:
    """Read every item, and only then report the unreadable ones together, so that the user mends them in one go.

    Args:
        items: files, or what stands for them.
        read: raises DataError naming the file.
        threads: items read at a time.
        place: where they are, for the message.
        total: how many there are with those that need no reading; all unless given.

    Raises:
        DataError: with the number of unreadable files and the first of them.
    """

    def attempt(item: Item) -> Content | DataError:
        try:
            return read(item)
        except DataError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        results = list(tqdm(pool.map(attempt, items), total=len(items), desc="reading", unit="file", disable=None))
    failures = [result for result in results if isinstance(result, DataError)]
    if failures:
        raise DataError(
            f"{place}: {len(failures)} of {total or len(items)} files cannot be used, first {failures[0]}; "
            "replace or remove them"
        )
    return [result for result in results if not isinstance(result, DataError)]


def read_image(path: str | Path, *, percentiles: Sequence[float]) -> np.ndarray:
    """Read a 2D image file as grey values.

    Args:
        path: PNG, JPEG, TIFF or BMP; colour becomes luminance.
        percentiles: intensity window (see `window`) of images with more than 8 bits, whose range says little: a 12-bit
            scan in a 16-bit file would come out black. Images of 8 bits are taken as they are.

    Returns:
        float32, shape (H, W), 0 to 1.

    Raises:
        DataError: if the file cannot be decoded in full.
    """
    with readable(path, "an image", "replace it"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=_FORMATS) as image:
                image.load()
                if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                    return window(_finite(np.asarray(image, dtype=np.float32), path), percentiles)
                return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
        except UnidentifiedImageError:
            raise DataError(f"{path}: is not an image") from None
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: cannot be decoded ({error})") from None
        except Image.DecompressionBombWarning as error:
            raise DataError(f"{path}: is too large to be a slice or a radiograph ({error})") from None


def read_volume(path: str | Path, *, percentiles: Sequence[float], planes: bool = False) -> np.ndarray:
    """Read a 3D NIfTI volume, reoriented so that axes point right, anterior and superior.

    Args:
        path: `.nii` or `.nii.gz`.
        percentiles: intensity window over the whole volume (see `window`).
        planes: also accept a file of one plane, as a volume with one slice.

    Returns:
        float32, shape (X, Y, Z), 0 to 1.

    Raises:
        DataError: if the file is damaged or not 3D.
    """
    import nibabel

    with readable(path, "NIfTI", "replace it"):
        content = _unpacked(path)
        # The two versions differ in the length that their headers begin with.
        kind = nibabel.Nifti2Image if {content[:4]} & {b"\x1c\x02\0\0", b"\0\0\x02\x1c"} else nibabel.Nifti1Image
        volume = kind.from_bytes(content)
        if math.prod(volume.shape) > MOST_VALUES:
            raise DataError(
                f"{path}: has the shape {volume.shape}, more than {MOST_VALUES:,} voxels; cut it into parts"
            )
        values = np.squeeze(np.asarray(nibabel.as_closest_canonical(volume).dataobj, dtype=np.float32))
    if planes and values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3:
        raise DataError(f"{path}: has {values.ndim} dimensions; expected one 3D volume")
    return window(_finite(values, path), percentiles)


def _unpacked(path: str | Path) -> bytes:
    """Return the content of a file, unpacked if its name ends in `.gz`, and not more of it than a volume can have."""
    content = bytearray()
    with gzip.open(path) if str(path).endswith(".gz") else Path(path).open("rb") as file:
        while piece := file.read(_PIECE):  # asked for at once, all of it would be set aside
            content += piece
            if len(content) > _MOST_BYTES:
                raise DataError(
                    f"{path}: has more than {_MOST_BYTES / 1e9:.1f} GB, too much for one volume; cut it into parts"
                )
    return bytes(content)


def _finite(values: np.ndarray, path: str | Path) -> np.ndarray:
    """Return the values unchanged if all are finite."""
    if not np.isfinite(values).all():
        raise DataError(f"{path}: has {np.count_nonzero(~np.isfinite(values))} values that are not finite")
    return values
