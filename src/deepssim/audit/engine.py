"""What an audit does with its units, images or volumes: all that differs between them is one record of functions.

Not here: reading them (reading.py), the engine of volumes (volume_engine.py), the order of steps, which is the same (examination.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepssim.audit.pictures import PairPictures, show_pair
from deepssim.config.choices import AuditUnit
from deepssim.detection.gallery import build_gallery
from deepssim.detection.pattern import SIDE, pattern
from deepssim.detection.score import IMAGES, CueSet
from deepssim.detection.search import Found, search
from deepssim.images.distort import DISTORTIONS, PROTOCOL, Change
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import resized
from deepssim.similarity.embeddings import Embeddings

PATTERNS = "none: coarse patterns, which need no training"


@dataclass(frozen=True)
class Engine:
    """How units of one kind are compared.

    Attributes:
        unit: image or volume.
        cues: what the evidence consists of.
        similar: columns of two cues, each of which proves one scan under two names if it is high enough.
        detail: column of a cue that tells scans of one patient from those of others; None where keypoints do.
        build: prepares real units as a gallery: of a pack, a seed and `threads`.
        search: finds candidates in it, as `detection.search.search` does.
        embed: coarse patterns, which need no training.
        distortions: positive controls by name.
        protocol: name of the protocol that they follow.
        parts: whether copies of a part of an image are told from others.
        show: pictures of a pair, float32 0 to 1, in the audit's report.
        flat: one picture of a unit, float32 (H, W), 0 to 1.
    """

    unit: AuditUnit
    cues: CueSet
    similar: tuple[int, int]
    detail: int | None
    build: Callable[..., Any]
    search: Callable[..., Found]
    embed: Callable[[ImagePack], Embeddings]
    distortions: Mapping[str, Change]
    protocol: str
    parts: bool
    show: Callable[[np.ndarray, np.ndarray], PairPictures]
    flat: Callable[[np.ndarray], np.ndarray]


def embed_patterns(pack: ImagePack) -> Embeddings:
    """Return the coarse patterns of images, which need no training."""
    values = np.stack([pattern(resized(image, SIDE, SIDE)) for image in pack.images])
    return Embeddings(values, pack.keys, PATTERNS, "")


def _picture(image: np.ndarray) -> np.ndarray:
    return image


IMAGE_ENGINE = Engine(
    AuditUnit.IMAGE, IMAGES, (2, 3), None, build_gallery, search, embed_patterns, DISTORTIONS, PROTOCOL, True, show_pair, _picture
)  # fmt: skip
