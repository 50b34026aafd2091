"""The image tree that people and other software look at: `<image_uid>/training.png` and `<image_uid>/gen-<i>.png`.

Source: file layout of the DeepSSIM reference code (arXiv:2509.16582).
"""

from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from deepssim.errors import DataError
from deepssim.images.keys import real_key, split_key
from deepssim.images.packs import ImagePack


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


def image_path(root: str | Path, key: str) -> Path:
    """Return where the image of a key lies in a tree; never outside of it."""
    image_uid, name = split_key(key)
    return Path(root) / image_uid / f"{name}.png"


def write_png(path: Path, image: np.ndarray) -> None:
    """Write one grey image, uint8 or uint16 (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
