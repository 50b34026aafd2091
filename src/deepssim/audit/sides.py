"""The sets of images that an audit compares, with what every step needs of them.

Not here: reading folders (inventory.py), embedding (run.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings


@dataclass(frozen=True)
class Shape:
    """A set of images brought to the size of the audit in one way.

    Attributes:
        pack: images and keys.
        pixel_hashes: hash of each image's pixels.
        embeddings: in the order of the pack.
    """

    pack: ImagePack
    pixel_hashes: list[str]
    embeddings: Embeddings


@dataclass(frozen=True)
class Side:
    """One set of images.

    Attributes:
        pack: images and keys.
        pixel_hashes: hash of each image's pixels.
        subjects: of each image; of synthetic images the volume, or the image itself.
        embeddings: in the order of the pack.
        others: the same images brought to the size of the audit in other ways; none where all shapes fit.
    """

    pack: ImagePack
    pixel_hashes: list[str]
    subjects: list[str]
    embeddings: Embeddings
    others: tuple[Shape, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The images in every geometry, padded first."""
        return Shape(self.pack, self.pixel_hashes, self.embeddings), *self.others

    @property
    def packs(self) -> tuple[ImagePack, ...]:
        """The images of `shapes`."""
        return tuple(shape.pack for shape in self.shapes)


@dataclass(frozen=True)
class Sides:
    """The three sets of an audit; no image or subject of the holdout is in the training set."""

    train: Side
    synthetic: Side
    holdout: Side | None


@dataclass(frozen=True)
class AuditTools:
    """What an audit works with: the encoder, the generator's autoencoder if there is one, seed and processor threads."""

    embed: Callable[[ImagePack], Embeddings]
    seed: int
    threads: int = 1
    reconstruct: Callable[[ImagePack], ImagePack] | None = None
