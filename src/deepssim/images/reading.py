"""Read image files: PNG, JPEG, TIFF (8 and 16 bit) and slices of NIfTI volumes.

Not here: which files belong to a dataset (datasets/sources.py).
"""

import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from deepssim.errors import DataError
from deepssim.images.standardize import window

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                    return window(np.asarray(image, dtype=np.float32), percentiles)
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
    from nibabel.filebasedimages import ImageFileError

    try:
        volume = nibabel.as_closest_canonical(nibabel.load(path))
        values = np.squeeze(np.asarray(volume.dataobj, dtype=np.float32))
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as NIfTI ({error})") from None
    if planes and values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3:
        raise DataError(f"{path}: has {values.ndim} dimensions; expected one 3D volume")
    if not np.isfinite(values).all():
        raise DataError(f"{path}: has {np.count_nonzero(~np.isfinite(values))} values that are not finite")
    return window(values, percentiles)
