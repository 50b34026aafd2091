"""How an audit compares whole volumes: the record of functions that takes the place of that of images.

Not here: the evidence for a pair of volumes (registration/volume_proof.py), the search (detection/volume_search.py), reading volumes
(images/scans.py).
"""

from typing import Any

import numpy as np

from deepssim.audit.engine import PATTERNS, Engine
from deepssim.audit.volume_pictures import mosaic, show_volumes
from deepssim.config.choices import AuditUnit
from deepssim.detection.score import VOLUMES
from deepssim.detection.search import Found
from deepssim.detection.volume_search import build_volume_gallery, search_volumes
from deepssim.images.packs import ImagePack
from deepssim.images.volume_distort import VOLUME_DISTORTIONS, VOLUME_PROTOCOL
from deepssim.registration.volume_proof import VOLUME_CUES
from deepssim.registration.volume_registration import prepare_volume
from deepssim.similarity.embeddings import Embeddings


def _build(pack: ImagePack, seed: int, *, threads: int = 1) -> Any:
    return build_volume_gallery(pack.images, seed, threads=threads)


def _search(gallery: Any, pack: ImagePack, **options: Any) -> Found:
    return search_volumes(gallery, pack.images, **options)


def embed_volume_patterns(pack: ImagePack) -> Embeddings:
    """Return the coarse patterns of volumes, which need no training."""
    values = np.stack([prepare_volume(volume).pattern for volume in pack.images])
    return Embeddings(values, pack.keys, PATTERNS, "")


VOLUME_ENGINE = Engine(
    AuditUnit.VOLUME, VOLUMES, (VOLUME_CUES.index("pattern in place"), VOLUME_CUES.index("SSIM registered")),
    VOLUME_CUES.index("correlation registered"), _build, _search,
    embed_volume_patterns, VOLUME_DISTORTIONS, VOLUME_PROTOCOL, False, show_volumes, mosaic,
)  # fmt: skip
