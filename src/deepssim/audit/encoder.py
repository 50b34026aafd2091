"""The encoder that an audit trains on the training images where the user names none.

Not here: how an encoder is trained (encoders/recipes.py).
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepssim.audit.cache import AuditCache
from deepssim.config.base import as_settings
from deepssim.config.encoders import EncoderConfig
from deepssim.config.settings import Config
from deepssim.datasets.splits import split_by_subject
from deepssim.datasets.tables import Split
from deepssim.encoders.deepssim import save_encoder
from deepssim.encoders.families import MEMBERS
from deepssim.encoders.recipes import train_on_images
from deepssim.errors import DataError
from deepssim.images.folders import Collection
from deepssim.images.keys import real_key
from deepssim.images.packs import ImagePack
from deepssim.runtime.outputs import atomic_outputs
from deepssim.runtime.private import owner_only
from deepssim.runtime.provenance import fingerprint
from deepssim.runtime.stage_versions import STAGE_VERSIONS

logger = logging.getLogger(__name__)

_LEAST_SUBJECTS = 10  # to train an encoder; two of them validate it
_VALID_FRACTION = 0.15


def trained_encoder(
    real: Collection, subjects: Sequence[str], store: AuditCache, config: Config
) -> tuple[Path, dict[str, Any]]:
    """Train an encoder, or return the one that an earlier audit trained on the same images.

    Args:
        real: training images of the generator.
        subjects: of each image.
        store: cache that keeps the encoder.
        config: sections `audit`, `encoder`, `seed` and `device`.

    Returns:
        The encoder's file and what the report says of its origin.

    Raises:
        DataError: if there are fewer than ten subjects.
    """
    count = len(set(subjects))
    if count < _LEAST_SUBJECTS:
        raise DataError(
            f"{config.audit.real}: {count} subjects are too few to train an encoder, which needs {_LEAST_SUBJECTS}; name a "
            "trained one by --encoder (audit.encoder)"
        )
    options = _options(config, len(real.pixel_hashes))
    version = STAGE_VERSIONS["train_deepssim"]
    known_by = [
        version,
        list(real.pixel_hashes),
        list(subjects),
        as_settings(options),
        config.seed,
        config.device.value,
    ]
    path = store.root / "encoders" / f"{fingerprint(known_by)[:32]}.safetensors"
    if path.exists():
        logger.info("an earlier audit trained an encoder on these images; it is used again")
        return path, {"source": "trained on the training images by an earlier audit", "training_seconds": None}
    seconds = _train(path, real, subjects, options, config)
    return path, {"source": "trained on the training images", "training_seconds": round(seconds, 1)}


def _options(config: Config, images: int) -> EncoderConfig:
    """Return section `encoder` with the misalignment of an audit, and fewer passes where there are many images."""
    encoder = config.encoder
    passes = max(1, config.audit.training_images // (MEMBERS * images))
    epochs = min(encoder.epochs, passes)
    return encoder.with_changes(
        augmentation=(*encoder.augmentation, *config.audit.misalignment),
        epochs=epochs,
        passes=min(encoder.passes, passes // epochs),
    )


def _train(path: Path, real: Collection, subjects: Sequence[str], options: EncoderConfig, config: Config) -> float:
    """Train an encoder on the training images, apart by subject from those that validate it; return the seconds."""
    fraction = max(_VALID_FRACTION, 2 / len(set(subjects)))
    splits = split_by_subject(list(subjects), valid_fraction=fraction, holdout_fraction=0.0, seed=config.seed)
    # File names are not valid image keys, and training needs none of them.
    pack = ImagePack(real.pack.images, [real_key(f"image-{number}") for number in range(len(splits))])
    train, valid = (
        pack.select([key for key, split in zip(pack.keys, splits, strict=True) if split is wanted])
        for wanted in (Split.TRAIN, Split.VALID)
    )
    logger.info("training an encoder on %d images; name one by --encoder to save this time", len(train.keys))
    started = time.perf_counter()
    with owner_only():
        network, _ = train_on_images(
            train, valid, options, seed=config.seed, device=config.device, state=path.parent / f"state-{path.stem}"
        )
        seconds = time.perf_counter() - started
        with atomic_outputs({"weights": path}) as outputs:
            save_encoder(outputs["weights"], network)
    logger.info("training the encoder took %.0f seconds", seconds)
    return seconds
