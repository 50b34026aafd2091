"""The stage that writes image files for people and other software."""

from collections.abc import Sequence

from deepssim.images.packs import open_pack, open_packs
from deepssim.images.tree import write_tree


def export_images(*, real: str, synthetic: Sequence[str], tree: str) -> None:
    """Write the image tree of the reference code: each record's real image beside those generated from it.

    Args:
        real: image pack.
        synthetic: image packs of all shards.
        tree: folder to write, `<image_uid>/training.png` and `<image_uid>/gen-<i>.png`.
    """
    with open_pack(real) as originals, open_packs(synthetic) as generated:
        write_tree(tree, originals, generated)
