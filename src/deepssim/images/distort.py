"""The audit's positive controls: what training images go through before the audit has to recognise them.

Names, strengths and random numbers are frozen as `PROTOCOL`, so that numbers of different studies can be compared: whoever changes
a row gives the protocol a new version. Brightness, contrast, rotation, noise, blur and JPEG have the strengths of LCMem
(arXiv:2512.14421).

Not here: the changes themselves (changes.py), several random distortions at once, for training (augment.py).
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from deepssim.images import changes
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from deepssim.seeds import numpy_generator

PROTOCOL = "deepssim-audit-v1"
CUSTOM = "custom"
PROTOCOL_SEED = 0
PROTOCOL_COPIES = 40  # training images that are copied with each distortion
UNCHANGED = "none"


@dataclass(frozen=True)
class Change:
    """One kind of distorted copies.

    Attributes:
        family: changes that differ in strength only; a row of the heat map.
        level: the strength; empty where a family has only one.
        apply: function of an image, float32 (H, W) or (D, H, W), 0 to 1, and a random generator; of a second image, too, if `mixes`.
        mixes: whether a part of another image enters.
    """

    family: str
    level: str
    apply: Callable[..., np.ndarray]
    mixes: bool = False

    @property
    def name(self) -> str:
        """The change in plain words, with its strength."""
        return f"{self.family} {self.level}".rstrip()


def distort(
    pack: ImagePack,
    name: str,
    seed: int,
    *,
    others: ImagePack | None = None,
    changes: Mapping[str, Change] | None = None,
) -> ImagePack:
    """Return a copy of a pack in which every image went through one change.

    Args:
        pack: images, 8 or 16 bits, any shape.
        name: one of the changes.
        seed: the config's seed; the change of an image depends on it, the name and the image's key only.
        others: images of the same shape and bit depth whose parts enter where a change mixes images: of each image the one whose
            key comes next in alphabetical order, after the last one the first; the pack itself unless given.
        changes: by name; `DISTORTIONS` unless given, for volumes `volume_distort.VOLUME_DISTORTIONS`.

    Returns:
        A new pack with the same keys, shape and type.

    Raises:
        KeyError: if no distortion has this name.
        ValueError: if the shape of `others` differs, or a change mixes images and there is no other image.
    """
    change = (DISTORTIONS if changes is None else changes)[name]
    others = pack if others is None else others
    if others.images.shape[1:] != pack.images.shape[1:]:
        raise ValueError(f"expected others of shape {pack.images.shape[1:]}, got {others.images.shape[1:]}")
    order = sorted(others.keys) if change.mixes else []
    images = np.empty(pack.images.shape, pack.images.dtype)
    for row, key in enumerate(pack.keys):
        random = numpy_generator(seed, "distort", name, key)
        second = [_unit(others, others.index[_next(order, key)])] if change.mixes else []
        images[row] = quantise(change.apply(_unit(pack, row), random, *second), pack.bit_depth)
    return ImagePack(images, list(pack.keys))


def protocol(seed: int, copies: int, name: str = PROTOCOL) -> str:
    """Return the name of the protocol that an audit's positive controls follow.

    Args:
        seed: the config's seed.
        copies: training images to copy with each distortion, at most.
        name: of the protocol whose distortions are used.

    Returns:
        `name`, or `CUSTOM` if a setting differs from it.
    """
    return name if (seed, copies) == (PROTOCOL_SEED, PROTOCOL_COPIES) else CUSTOM


def _unit(pack: ImagePack, row: int) -> np.ndarray:
    return ImagePack(pack.images[row : row + 1], pack.keys[row : row + 1]).unit()[0]


def _next(order: Sequence[str], key: str) -> str:
    """Return the key that comes next, among sorted ones."""
    following = order[bisect_right(order, key) % len(order)] if order else key
    if following == key:
        raise ValueError(f"image {key!r} is to be mixed with another one, but it is the only image; give `others`")
    return following


def family(
    family: str,
    unit: str,
    function: Callable[..., np.ndarray],
    parameter: str,
    levels: Sequence[float],
    scale: float = 1,
) -> list[Change]:
    """List changes that differ in strength only; `scale` converts a level to the function's parameter."""
    return [Change(family, f"{level:g}{unit}", partial(function, **{parameter: level * scale})) for level in levels]


_CHANGES = (
    Change(UNCHANGED, "", changes.keep),
    Change("soft", "", changes.soft),
    Change("flip", "left-right", partial(changes.flip, axis=1)),
    Change("flip", "up-down", partial(changes.flip, axis=0)),
    *family("quarter turn", "°", changes.quarter_turn, "degrees", (90, 180, 270)),
    *family("rotation", "°", changes.rotate, "degrees", (5, 10, 20, 30)),
    *family("shift", " %", changes.shift, "fraction", (5, 10), 0.01),
    *family("crop", " %", changes.crop, "fraction", (10, 20, 30), 0.01),
    Change("shrunk", "by 10 %", partial(changes.zoom, factor=0.9)),
    Change("shrunk", "by 20 %", partial(changes.zoom, factor=0.8)),
    Change("enlarged", "by 10 %", partial(changes.zoom, factor=1.1)),
    Change("enlarged", "by 20 %", partial(changes.zoom, factor=1.2)),
    Change("squashed", "to 75 %", partial(changes.squash, factor=0.75)),
    *family("warp", " of 256 px", changes.warp, "deviation", (3, 6)),
    Change("inversion", "", changes.invert),
    *family("gamma", "", changes.gamma, "exponent", (0.6, 1.6)),
    *family("brightness", "", changes.brightness, "factor", (1.1, 1.3, 1.6, 2)),
    *family("contrast", "", changes.contrast, "factor", (1.1, 1.3, 1.6, 2)),
    *family("bias field", "", changes.bias_field, "strength", (0.4,)),
    *family("blur", " of 512 px", changes.blur, "deviation", (0.1, 1, 2, 6)),
    *family("noise", "", changes.noise, "deviation", (0.01, 0.1, 0.2, 0.3)),
    *family("JPEG", "", changes.jpeg, "quality", (95, 70, 40, 10)),
    Change("a quarter replaced", "", changes.replace_quarter, mixes=True),
    Change("random flips, rotation and gamma", "", changes.misalign),
    Change("flip, rotation 8°, gamma 0.6 and soft", "", changes.combine),
)
DISTORTIONS: dict[str, Change] = {change.name: change for change in _CHANGES}
"""All positive controls by name, in the order in which they are shown, each family from mild to strong."""
