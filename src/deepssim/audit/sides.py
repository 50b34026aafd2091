"""The sets of images that an audit compares, with what every step needs of them.

Not here: reading folders (inventory.py), embedding (embeddings.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from deepssim.audit.engine import IMAGE_ENGINE, Engine
from deepssim.evaluation.groups import group_codes
from deepssim.images.packs import ImagePack
from deepssim.runtime.progress import Steps
from deepssim.similarity.embeddings import Embeddings


@dataclass(frozen=True)
class Side:
    """One set of images.

    Attributes:
        pack: images or volumes, and keys.
        pixel_hashes: hash of each image's pixels; of all images of a folder `runtime.hashes.Hashes`.
        subjects: of each image; of synthetic images the volume, or the image itself.
        embeddings: in the order of the pack; those of synthetic images stay in files.
    """

    pack: ImagePack
    pixel_hashes: Sequence[str]
    subjects: list[str]
    embeddings: Embeddings

    @cached_property
    def groups(self) -> np.ndarray:
        """Number of each image's subject in the order of their names, int64 (N,), which takes less memory than names."""
        return group_codes(self.subjects)[0]

    def part(self, chosen: np.ndarray) -> "Side":
        """Return some of the images, bool (N,)."""
        rows = np.flatnonzero(chosen)

        def pick(values: Sequence[str]) -> list[str]:
            return [values[row] for row in rows.tolist()]

        keys = pick(self.pack.keys)
        embeddings = replace(self.embeddings, values=self.embeddings.values[rows], keys=keys)
        return Side(ImagePack(self.pack.images[rows], keys), pick(self.pixel_hashes), pick(self.subjects), embeddings)


@dataclass(frozen=True)
class Sides:
    """The three sets of an audit; no image or subject of the holdout is in the training set.

    Attributes:
        train, synthetic, holdout: the sets.
        visits: visit of each training image, such as its file; images of one subject at one visit are not compared as if they
            were of two. Empty where nothing is known of visits.
    """

    train: Side
    synthetic: Side
    holdout: Side | None
    visits: Sequence[str] = ()


@dataclass(frozen=True)
class AuditTools:
    """What an audit works with.

    Attributes:
        embed: embeds a pack.
        encoder: whether by an encoder, whose cosines are then evidence; else by coarse patterns.
        seed: of all random choices.
        threads: processor threads.
        reconstruct: the generator's autoencoder, if there is one.
        steps: where the audit says what it does.
        engine: how units are compared.
    """

    embed: Callable[[ImagePack], Embeddings]
    encoder: bool
    seed: int
    threads: int = 1
    reconstruct: Callable[[ImagePack], ImagePack] | None = None
    steps: Steps = field(default_factory=lambda: Steps(0))
    engine: Engine = IMAGE_ENGINE
