"""The image tree that `ldm-generate` writes part by part, and continues after an interruption.

Not here: generating (generation.py), writing images (images/tree.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from deepssim.config.generative import SynthesisConfig
from deepssim.errors import DataError
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.images.tree import image_path, is_whole_png

_IMAGES_AT_A_TIME = 128  # generated before they are written


def is_complete(place: Path, record: str, count: int) -> bool:
    """Return whether a record's images are all in the tree; an interruption may have left an unfinished one.

    Args:
        place: the tree.
        record: image uid.
        count: number of its synthetic images.
    """
    keys = [real_key(record), *(synthetic_key(record, number) for number in range(count))]
    return all(is_whole_png(image_path(place, key)) for key in keys)


def require_same_images(root: Path, real: ImagePack, records: Sequence[str]) -> None:
    """Check that a tree which a run continues holds these real images, in this orientation.

    Args:
        root: the tree.
        real: real images of the table.
        records: image uids of the records in the tree.

    Raises:
        DataError: if it holds others.
    """
    paths = {key: image_path(root, key) for key in map(real_key, records)}
    other = [
        path
        for key, path in paths.items()
        if path.exists() and not np.array_equal(np.asarray(Image.open(path)), real.images[real.index[key]])
    ]
    if other:
        raise DataError(
            f"{root}: {len(other)} of {len(paths)} real images are not those of the table, or were written in another "
            f"orientation, first {other[0].relative_to(root)}; name another --output_path"
        )


def divide(records: int, count: int, options: SynthesisConfig) -> tuple[int, SynthesisConfig]:
    """Divide the images of all records into parts and batches of about equal size, so that hardly any batch is padded.

    The sizes do not depend on how many records are done already, so that a resumed run rounds as an uninterrupted one does.

    Args:
        records: number of records of the table.
        count: synthetic images of each.
        options: section `synthesis`.

    Returns:
        Records per part, and the options with their batch size.
    """
    at_a_time = -(-records // -(-records // max(1, _IMAGES_AT_A_TIME // count)))
    images = at_a_time * count
    return at_a_time, options.with_changes(batch_size=-(-images // -(-images // options.batch_size)))
