"""The image tree that people and other software look at: `<image_uid>/training.png` and `<image_uid>/gen-<i>.png`.

Source: file layout of the DeepSSIM reference code (arXiv:2509.16582).
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deepssim.config import DatasetConfig
from deepssim.errors import DataError
from deepssim.images.keys import REAL_NAME, SEPARATOR, checked_keys, real_key, require_unique, split_key
from deepssim.images.packs import ImagePack
from deepssim.images.reading import IMAGE_SUFFIXES, read_image
from deepssim.images.standardize import quantise


def write_tree(root: str | Path, real: ImagePack, synthetic: ImagePack) -> None:
    """Write the synthetic images as PNG, each record's real image beside them.

    Args:
        root: folder to make.
        real: pack that holds the records.
        synthetic: images generated from them; keys say from which.

    Raises:
        DataError: if a record has no real image.
    """
    records = list(dict.fromkeys(split_key(key)[0] for key in synthetic.keys))
    absent = [record for record in records if real_key(record) not in real.index]
    if absent:
        raise DataError(f"{len(absent)} of {len(records)} records have no real image, first {absent[0]!r}")
    images = [(real, real_key(record)) for record in records] + [(synthetic, key) for key in synthetic.keys]
    for pack, key in tqdm(images, desc="writing PNG", unit="image", disable=None):
        write_png(image_path(root, key), pack.images[pack.index[key]])


def find_images(root: str | Path) -> dict[str, Path]:
    """Find the images of a tree, one folder per record.

    Returns:
        Path of each key, sorted by key, so that no result depends on the order of files on disk.

    Raises:
        DataError: if there is none, or a name cannot be used in a key.
    """
    if not Path(root).is_dir():
        raise DataError(f"{root}: is not a folder; name the folder of <image_uid>/{REAL_NAME}.png")
    files = sorted(
        path
        for path in Path(root).glob("*/*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not path.name.startswith(".")
        and not path.parent.name.startswith(".")
    )
    keys = checked_keys([f"{path.parent.name}{SEPARATOR}{path.stem}" for path in files], str(root))
    require_unique(keys, str(root))
    if not keys:
        raise DataError(f"{root}: has no image in a folder of its own record; expected <image_uid>/{REAL_NAME}.png")
    return dict(sorted(zip(keys, files, strict=True)))


def read_images(paths: Mapping[str, Path], *, threads: int) -> ImagePack:
    """Read images of one size as 8-bit grey values.

    Args:
        paths: by key, in the order of the pack.
        threads: images decoded at a time.

    Raises:
        DataError: if one cannot be read or they differ in size, with the number of such images and the first.
    """

    def attempt(path: Path) -> np.ndarray | DataError:
        try:
            return quantise(read_image(path, percentiles=DatasetConfig().intensity_percentiles), 8)
        except DataError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        found = list(tqdm(pool.map(attempt, paths.values()), total=len(paths), desc="reading", disable=None))
    failures = [image for image in found if isinstance(image, DataError)]
    if failures:
        raise DataError(f"{len(failures)} of {len(paths)} images cannot be used, first {failures[0]}")
    images = [image for image in found if not isinstance(image, DataError)]
    sizes = {key: "x".join(map(str, image.shape)) for key, image in zip(paths, images, strict=True)}
    first = next(iter(sizes.values()))
    other = [key for key, size in sizes.items() if size != first]
    if other:
        raise DataError(
            f"{len(other)} of {len(paths)} images differ in size from the first ({first}), first {paths[other[0]]} "
            f"({sizes[other[0]]}); bring them to one size"
        )
    return ImagePack(np.stack(images), list(paths))


def image_path(root: str | Path, key: str) -> Path:
    """Return where the image of a key lies in a tree; never outside of it."""
    image_uid, name = split_key(key)
    return Path(root) / image_uid / f"{name}.png"


def write_png(path: Path, image: np.ndarray) -> None:
    """Write one grey image, uint8 or uint16 (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
