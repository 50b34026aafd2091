"""The stage that misaligns images for the misaligned evaluation."""

from collections.abc import Sequence

from deepssim.config.distortions import DistortionConfig
from deepssim.images.augment import misalign_pack
from deepssim.images.packs import read_pack, write_pack


def misalign(*, pack: str, misaligned: str, misalignment: Sequence[DistortionConfig], seed: int) -> None:
    """Write a copy of a pack in which every image is distorted independently.

    Args:
        pack: image pack.
        misaligned: image pack to write, with the same keys.
        misalignment, seed: settings.
    """
    write_pack(misaligned, misalign_pack(read_pack(pack), misalignment, seed))
