"""What an audit works with: the engine of its unit, embeddings with or without an encoder, the generator's autoencoder.

Not here: training an encoder (encoder.py), the audit itself (run.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.audit.cache import AuditCache
from deepssim.audit.engine import IMAGE_ENGINE, PATTERNS, Engine
from deepssim.audit.sides import AuditTools
from deepssim.config.choices import AuditUnit, MetricName, Orientation, Precision
from deepssim.config.settings import Config
from deepssim.errors import DataError
from deepssim.images.folders import Collection, pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import resized
from deepssim.metrics import METRICS
from deepssim.runtime.provenance import file_checksum
from deepssim.similarity.embeddings import Embeddings

_BATCH = 256  # images embedded at a time
_PLACES = np.linspace(0.2, 0.8, 8)  # of the slices of a volume that an encoder sees, along each axis


def engine_of(unit: AuditUnit) -> Engine:
    """Return how an audit's units are compared.

    Args:
        unit: image or volume.
    """
    if unit is AuditUnit.IMAGE:
        return IMAGE_ENGINE
    from deepssim.audit.volume_engine import VOLUME_ENGINE  # with libraries that other audits do not need

    return VOLUME_ENGINE


def audit_tools(
    real: Collection, subjects: Sequence[str], store: AuditCache, config: Config, threads: int
) -> tuple[AuditTools, dict[str, Any]]:
    """Return what an audit works with, and what the report says of the encoder.

    Args:
        real: training images.
        subjects: of each.
        store: cache, which keeps an encoder that is trained here.
        config: sections `audit`, whose unit is known, and `encoder`.
        threads: processor threads.

    Raises:
        DataError: if too few subjects are there to train an encoder.
    """
    options, engine = config.audit, engine_of(config.audit.unit)
    reconstruct = reconstruction(config)
    if options.encoder is None and not options.thorough:
        about = {"source": PATTERNS, "sha256": "", "training_seconds": None}
        return AuditTools(engine.embed, False, config.seed, threads, reconstruct, engine=engine), about
    if options.encoder is None:
        # Lightning takes seconds to import, which other audits save.
        from deepssim.audit.encoder import trained_encoder

        weights, about = trained_encoder(*to_learn_from(real, subjects, engine), store, config)
    else:
        weights, about = Path(options.encoder), {"source": "given", "training_seconds": None}
    embed = _embedder(weights, config)
    tools = AuditTools(embed, True, config.seed, threads, reconstruct, engine=engine)
    return tools, about | {"sha256": file_checksum(weights)}


def to_learn_from(real: Collection, subjects: Sequence[str], engine: Engine) -> tuple[Collection, list[str]]:
    """Return the images that an encoder is trained on, and their subjects: of volumes, their slices.

    Args:
        real: training images or volumes.
        subjects: of each.
        engine: of the audit's unit.
    """
    if engine.unit is AuditUnit.IMAGE:
        return real, list(subjects)
    slices, of_volume = _slices_of(real.pack)
    shown = slices.images.min(axis=(1, 2)) < slices.images.max(axis=(1, 2))
    rows = np.flatnonzero(shown)
    pack = ImagePack(slices.images[rows], [slices.keys[row] for row in rows])
    learned = replace(
        real, pack=pack, pixel_hashes=pixel_hashes(pack), files=[real.files[of_volume[row]] for row in rows]
    )
    return learned, [subjects[of_volume[row]] for row in rows]


def _embedder(weights: Path, config: Config) -> Callable[[ImagePack], Embeddings]:
    encode = METRICS[MetricName.DEEPSSIM].embed
    assert encode is not None
    height, width = config.audit.image_size

    def embed(pack: ImagePack) -> Embeddings:
        images = np.stack([resized(image, height, width) for image in pack.images])
        # One precision for all runs: embeddings of earlier ones are compared with new ones.
        return encode(
            str(weights), ImagePack(images, pack.keys), config.device, _BATCH, Precision.FLOAT32, config.published.trust
        )

    return embed if config.audit.unit is AuditUnit.IMAGE else lambda pack: _pooled(pack, embed)


def _slices_of(pack: ImagePack) -> tuple[ImagePack, list[int]]:
    """Return slices of volumes, eight across each axis, as images in the order of the volumes, and the volume of each."""
    places = np.rint(_PLACES * (pack.images.shape[1] - 1)).astype(int)
    images = [np.moveaxis(volume, axis, 0)[places] for volume in pack.images for axis in range(3)]
    keys = [f"{key}#{axis}-{place}" for key in pack.keys for axis in "dhw" for place in places]
    return ImagePack(np.concatenate(images), keys), np.repeat(np.arange(len(pack.keys)), 3 * len(places)).tolist()


def _pooled(pack: ImagePack, embed: Callable[[ImagePack], Embeddings]) -> Embeddings:
    """Return the embeddings of volumes: of each axis, the mean of the embeddings of slices across it, one after the other.

    Slices of a single intensity, such as black ones beyond a head, show nothing to embed; an encoder with features of SSIM has no
    embedding for them. They are left out of the mean, which is 0 for an axis without others.

    Raises:
        DataError: if all slices of all volumes are of a single intensity.
    """
    slices, _ = _slices_of(pack)
    shown = np.flatnonzero(slices.images.min(axis=(1, 2)) < slices.images.max(axis=(1, 2)))
    if not len(shown):
        raise DataError(
            f"{len(pack.keys)} volumes have slices of a single intensity only, first {pack.keys[0]!r}; an encoder sees nothing in "
            "them: remove them, or audit without an encoder"
        )
    found = embed(ImagePack(slices.images[shown], [slices.keys[row] for row in shown.tolist()]))
    units = found.values / np.maximum(np.linalg.norm(found.values, axis=1, keepdims=True), 1e-12)
    values = np.zeros((len(slices.keys), units.shape[1]), np.float32)
    values[shown] = units
    counts = np.bincount(shown * 3 * len(pack.keys) // len(slices.keys), minlength=3 * len(pack.keys))
    sums = values.reshape(3 * len(pack.keys), -1, units.shape[1]).sum(axis=1)
    means = (sums / np.maximum(counts, 1)[:, None]).reshape(len(pack.keys), -1)
    return Embeddings(means.astype(np.float32), pack.keys, found.encoder, found.checksum)


def reconstruction(config: Config) -> Callable[[ImagePack], ImagePack] | None:
    """Return the round trip through the generator's autoencoder, where one is named.

    If it was trained on transposed images, images are transposed for it and back where that gives the better reconstruction.

    Args:
        config: of which `audit.autoencoder` and `device` are used.

    Returns:
        Function from images to their reconstructions, of the same size; None without an autoencoder.
    """
    if config.audit.autoencoder is None:
        return None
    from deepssim.generative.autoencoder import load_autoencoder, reconstruct_pack  # MONAI is for this control only
    from deepssim.runtime.devices import resolve_device
    from deepssim.runtime.weights import recorded_orientation

    network = load_autoencoder(config.audit.autoencoder)
    device = resolve_device(config.device)
    ways = [Orientation.UPRIGHT]
    if recorded_orientation(config.audit.autoencoder) is Orientation.TRANSPOSED:
        # Original files are upright, but those that such a generator wrote beside its images are transposed already.
        ways.append(Orientation.TRANSPOSED)

    def reconstruct(pack: ImagePack) -> ImagePack:
        found = [reconstruct_pack(network, pack, device=device, orientation=way) for way in ways]
        return min(found, key=lambda decoded: float(np.abs(decoded.unit() - pack.unit()).mean()))

    return reconstruct
