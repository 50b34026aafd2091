"""The image tree that `ldm-generate` writes part by part, and continues after an interruption.

Not here: generating (generation.py), writing images (images/tree.py).
"""

from pathlib import Path

from deepssim.config.generative import SynthesisConfig
from deepssim.images.keys import real_key, synthetic_key
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
