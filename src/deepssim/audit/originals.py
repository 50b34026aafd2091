"""The pictures of the report at their own resolution: files are read again for the few pairs that are shown.

Not here: the images that are compared (inventory.py), how two pictures of a pair are shown (pictures.py).
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from deepssim.config.dataset import VolumesConfig
from deepssim.errors import DataError
from deepssim.images.files import ALL_SLICES, read_contents
from deepssim.images.folders import Collection

LARGEST = 512  # pixels of a picture's longer side


def full_pictures(
    collection: Collection,
    rows: Sequence[int],
    *,
    percentiles: Sequence[float],
    slicing: VolumesConfig = ALL_SLICES,
    largest: int = LARGEST,
    threads: int = 1,
) -> dict[int, np.ndarray]:
    """Read the pictures of some images again, at their own size and aspect ratio; each file is read once.

    Args:
        collection: the images of a folder.
        rows: which of them, of `collection.pack`.
        percentiles: intensity window, as of the audit.
        slicing: how volumes are cut, as of the audit.
        largest: pixels of the longer side to which larger pictures are reduced.
        threads: files read at a time.

    Returns:
        Pictures by row, float32 (H, W), 0 to 1.

    Raises:
        DataError: if a file cannot be read any more, or an image is no longer in it.
    """
    wanted: dict[Path, list[int]] = defaultdict(list)
    for row in dict.fromkeys(int(row) for row in rows):
        wanted[collection.files[row]].append(row)

    def read(path: Path) -> dict[int, np.ndarray]:
        keys = {row: collection.pack.keys[row] for row in wanted[path]}
        return _pictures_of(path, keys, percentiles, slicing, largest)

    with ThreadPoolExecutor(threads) as pool:
        return {row: picture for found in pool.map(read, wanted) for row, picture in found.items()}


def full_picture(
    collection: Collection,
    row: int,
    *,
    percentiles: Sequence[float],
    slicing: VolumesConfig = ALL_SLICES,
    largest: int = LARGEST,
) -> np.ndarray:
    """Read the picture of one image again.

    Args:
        collection, percentiles, slicing, largest: as of `full_pictures`.
        row: of `collection.pack`.

    Returns:
        float32 (H, W), 0 to 1.

    Raises:
        DataError: as of `full_pictures`.
    """
    return full_pictures(collection, [row], percentiles=percentiles, slicing=slicing, largest=largest)[row]


def _pictures_of(
    path: Path, keys: dict[int, str], percentiles: Sequence[float], slicing: VolumesConfig, largest: int
) -> dict[int, np.ndarray]:
    """Return the pictures of one file by row, given the keys of these rows."""
    found: dict[int, np.ndarray] = {}
    for frame in read_contents(path, percentiles=percentiles, slicing=slicing).frames:
        if frame.left_out:
            continue
        for row, key in keys.items():
            if not frame.part or key.endswith(f"#{frame.part}"):
                found[row] = _reduced(frame.pixels, largest)
    absent = [key for row, key in keys.items() if row not in found]
    if absent:
        raise DataError(
            f"{path}: {len(absent)} of {len(keys)} images that the report shows are no longer in this file, first "
            f"{absent[0]}; do not change files while an audit runs"
        )
    return found


def _reduced(picture: np.ndarray, largest: int) -> np.ndarray:
    factor = largest / max(picture.shape)
    if factor >= 1:
        return np.ascontiguousarray(picture, np.float32)
    height, width = (max(1, round(side * factor)) for side in picture.shape)
    return cv2.resize(np.ascontiguousarray(picture, np.float32), (width, height), interpolation=cv2.INTER_AREA)
