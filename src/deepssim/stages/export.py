"""The stage that writes image files for people and other software."""

from collections.abc import Sequence

from deepssim.images.packs import join_packs, read_pack
from deepssim.images.tree import write_tree


def export_images(*, real: str, synthetic: Sequence[str], tree: str) -> None:
    """Write the image tree of the reference code: each record's real image beside those generated from it.

    Args:
        real: image pack.
        synthetic: image packs of all shards.
        tree: folder to write, `<image_uid>/training.png` and `<image_uid>/gen-<i>.png`.
    """
    write_tree(tree, read_pack(real), join_packs(synthetic))
