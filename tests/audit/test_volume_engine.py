"""The records by which an audit treats images and volumes alike: they fit together, and search what they build."""

import numpy as np
import pytest

from deepssim.audit.engine import IMAGE_ENGINE, PATTERNS, Engine
from deepssim.audit.tools import engine_of
from deepssim.audit.volume_engine import VOLUME_ENGINE, embed_volume_patterns
from deepssim.config.choices import AuditUnit
from deepssim.detection.score import COSINE, IMAGES, VOLUMES
from deepssim.images.distort import UNCHANGED
from deepssim.images.packs import ImagePack
from deepssim.registration.proof import CUES
from deepssim.registration.volume_proof import VOLUME_CUES
from tests.audit.scans import head


def pack_of(*seeds: int, side: int = 24) -> ImagePack:
    heads = [head(np.random.default_rng(seed), side) for seed in seeds]
    return ImagePack(
        np.stack([np.rint(255 * item / item.max()) for item in heads]).astype(np.uint8), [f"v{seed}" for seed in seeds]
    )


@pytest.mark.parametrize("engine", [IMAGE_ENGINE, VOLUME_ENGINE], ids=lambda engine: engine.unit.value)
def test_a_record_fits_together(engine: Engine):
    assert engine_of(engine.unit) is engine
    names, counts = engine.cues.names, engine.cues.counts
    assert names[-1] == COSINE
    assert len(names) == len(engine.cues.medians) == len(engine.cues.scales)
    assert all(scale > 0 for scale in engine.cues.scales)
    assert all(counts <= column < len(names) - 1 for column in engine.similar)  # similarities, not of an encoder
    assert next(iter(engine.distortions)) == UNCHANGED
    assert all(name == change.name for name, change in engine.distortions.items())


def test_images_and_volumes_do_not_share_protocol_or_cues():
    assert IMAGE_ENGINE.protocol != VOLUME_ENGINE.protocol
    assert VOLUMES.names == (*VOLUME_CUES, COSINE)
    assert IMAGES.names == (*CUES, COSINE)
    assert [VOLUME_CUES[column] for column in VOLUME_ENGINE.similar] == ["pattern in place", "SSIM registered"]
    assert VOLUME_ENGINE.unit is AuditUnit.VOLUME


def test_volumes_are_found_in_the_gallery_that_is_built_of_them():
    pack = pack_of(1, 2)
    gallery = VOLUME_ENGINE.build(pack, 0, threads=2)
    found = VOLUME_ENGINE.search(gallery, pack, k=1, excluded=None, cosines=None, threads=2, progress="comparing")
    assert found.cues.shape[2] == len(VOLUMES.names) - 1
    for row in range(2):
        place = found.partners[row].tolist().index(row)
        assert found.cues[row, place].min() > 0.99
        assert (found.cues[row, place, list(VOLUME_ENGINE.similar)] > 0.99).all()


def test_patterns_of_volumes_are_embeddings_of_length_1():
    pack = pack_of(1, 2, 3)
    found = embed_volume_patterns(pack)
    assert found.keys == pack.keys
    assert found.encoder == PATTERNS
    np.testing.assert_allclose(np.linalg.norm(found.values, axis=1), 1, atol=1e-5)
    gram = found.values @ found.values.T
    assert gram[~np.eye(3, dtype=bool)].max() < 0.95
    wider = ImagePack(np.pad(pack.images, ((0, 0), (6, 2), (3, 5), (0, 8))), pack.keys)
    again = embed_volume_patterns(wider).values
    assert (found.values * again).sum(axis=1).min() > 0.97  # the place in the field of view does not count


def test_a_volume_is_shown_as_one_picture():
    volume = pack_of(1).unit()[0]
    assert VOLUME_ENGINE.flat(volume).shape == (72, 72)
    shown = VOLUME_ENGINE.show(volume, volume)
    assert shown.real.shape == (72, 72)
