"""The audit: folders of real and synthetic images in, a verdict with its evidence out.

Not here: the statistics (evaluation/audit.py), the page (reporting/audit_page.py), the command line (cli_audit.py).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepssim.choices import MetricName, Precision
from deepssim.errors import ConfigError, DataError
from deepssim.jobs import whole_outputs
from deepssim.provenance import file_checksum, fingerprint
from deepssim.settings import as_settings
from deepssim.stages.audit_cache import AuditCache

if TYPE_CHECKING:
    import numpy as np

    from deepssim.config import AuditConfig, EncoderConfig
    from deepssim.encoders.embeddings import Embeddings
    from deepssim.evaluation.audit import Means, Side, Sides
    from deepssim.evaluation.neighbours import Neighbours
    from deepssim.evaluation.preflight import Finding
    from deepssim.images.collection import Collection
    from deepssim.images.packs import ImagePack

logger = logging.getLogger(__name__)

AUDIT_RECIPE = 3  # raise when a change of the library alters what an encoder learns
OUTPUTS = {
    "page": "index.html",
    "summary": "summary.json",
    "pairs": "pairs.csv",
    "keep": "keep.txt",
    "drop": "drop.txt",
}
_LEAST_SUBJECTS = 10  # to train an encoder; two of them validate it
_VALID_FRACTION = 0.15
_BATCH = 256


def audit(
    *, page: str, summary: str, pairs: str, keep: str, drop: str, cache: str, config: Any, threads: int = 1
) -> dict[str, Any]:
    """Audit the folders that section `audit` names and write the report.

    Args:
        page, summary, pairs, keep, drop: files to write, see docs/audit.md.
        cache: folder for what the next audit need not do again.
        config: sections `audit`, `encoder`, `published`, `seed` and `device`.
        threads: processor threads.

    Returns:
        What `summary` holds.
    """
    from deepssim.evaluation.audit import Means, examine
    from deepssim.reporting.audit_page import write_page
    from deepssim.reporting.audit_tables import AuditReport, write_tables

    started = time.perf_counter()
    options, store = config.audit, AuditCache(Path(cache))
    collections = {name: _collect(root, name, store, options, threads) for name, root in _folders(options).items()}
    subjects = {name: _subjects(item, name, store, options) for name, item in collections.items()}
    findings, usable = _preflight(collections, subjects)
    weights, about = _encoder(collections["real"], subjects["real"], store, config)
    means = Means(_embedder(weights, config), config.seed, threads, _reconstruction(config))
    checksum = file_checksum(weights)
    sides = _sides(collections, subjects, usable, store, checksum, means)
    neighbours = _neighbours(sides, store, checksum, options.top_k, threads)
    figures = examine(sides, neighbours, findings, options, means)
    about |= {"sha256": checksum, "seconds_of_audit": round(time.perf_counter() - started, 1)}
    report = AuditReport(sides, figures, neighbours, collections, config, about, store.salt())
    found = write_tables(report, summary=summary, pairs=pairs, keep=keep, drop=drop)
    write_page(page, report, found)
    logger.info("%s", found["verdict"]["sentence"])
    return found


def audit_folder(out: str | Path, *, config: Any, cache: str | Path | None = None, threads: int = 1) -> dict[str, Any]:
    """Audit and write all files into one folder; they appear together or not at all.

    Args:
        out: folder of the report; other files in it stay as they are.
        config: all settings.
        cache: folder of the cache; `.deepssim-cache` beside the report unless named.
        threads: processor threads.
    """
    place = Path(out)
    with whole_outputs({name: place / file for name, file in OUTPUTS.items()}) as files:
        return audit(**files, cache=str(cache or place.parent / ".deepssim-cache"), config=config, threads=threads)


def _folders(options: AuditConfig) -> dict[str, Path]:
    if options.real is None or options.synthetic is None:
        raise ConfigError("audit.real and audit.synthetic must name the folders of training and synthetic images")
    named = {name: getattr(options, name) for name in ("real", "synthetic", "holdout")}
    return {name: Path(path) for name, path in named.items() if path is not None}


def above_limit(found: dict[str, Any], rate: float) -> bool:
    """Return whether copies were found and their share of the synthetic images, without false alarms, is above `rate`."""
    from deepssim.evaluation.audit import Verdict

    share = found["figures"]["synthetic_that_copy"]["value"]
    return found["verdict"]["result"] == Verdict.COPIES and share > rate


def _collect(root: Path, name: str, store: AuditCache, options: AuditConfig, threads: int) -> Collection:
    from deepssim.images.collection import collect, list_files

    files = list_files(root, synthetic=name == "synthetic")
    decoded = store.decoded(files, options.image_size, options.intensity_percentiles, threads=threads, place=str(root))
    collection = collect(root, files, decoded)
    logger.info(
        "%s: %d images of %s pixels, brought to %s", name, len(collection.pack.keys),
        ", ".join(f"{size} ({count})" for size, count in sorted(collection.sizes.items())[:5]),
        "x".join(map(str, options.image_size)),
    )  # fmt: skip
    if collection.constant:
        logger.warning(
            "%s: %d images are constant and were not judged, first %r", root, len(collection.constant),
            collection.constant[0],
        )  # fmt: skip
    return collection


def _subjects(collection: Collection, name: str, store: AuditCache, options: AuditConfig) -> list[str]:
    from deepssim.datasets.subjects import find_subjects

    if name == "synthetic":
        return [""] * len(collection.pack.keys)
    return find_subjects(
        collection, Path(getattr(options, name)), table=options.subjects, pattern=options.subject_pattern,
        salt=store.salt(),
    )  # fmt: skip


def _preflight(
    collections: dict[str, Collection], subjects: dict[str, list[str]]
) -> tuple[list[Finding], np.ndarray | None]:
    """Return what is wrong with the data, and which held-out images can be used."""
    from deepssim.evaluation.preflight import Finding, duplicates_within, overlaps

    real = collections["real"]
    findings = duplicates_within(real.pack.keys, real.content)
    usable = None
    if "holdout" in collections:
        holdout = collections["holdout"]
        sides = [
            (item.pack.keys, item.content, subjects[name]) for name, item in (("real", real), ("holdout", holdout))
        ]
        found, usable = overlaps(*sides)
        findings += found
        if not usable.any():
            message = (
                "no held-out image is left to calibrate on; published limits were used as if there were no holdout"
            )
            findings.append(Finding("no usable holdout", message, [], True))
    if len(set(subjects["real"])) == len(subjects["real"]):
        message = (
            "every training image counts as a subject of its own; if patients have several images, name them "
            "(--subjects or --subject-pattern), or intervals are too narrow"
        )
        findings.append(Finding("subjects unknown", message, [], False))
    for finding in findings:
        logger.warning("%s", finding.message)
    return findings, usable


def _encoder(real: Collection, subjects: list[str], store: AuditCache, config: Any) -> tuple[Path, dict[str, Any]]:
    """Return the encoder's file and where it is from; train one on the training images unless it is named or known."""
    if config.audit.encoder is not None:
        if not Path(config.audit.encoder).is_file():
            raise DataError(f"{config.audit.encoder}: does not exist; name an existing encoder file")
        return Path(config.audit.encoder), {"source": "given", "training_seconds": None}
    count = len(set(subjects))
    if count < _LEAST_SUBJECTS:
        raise DataError(
            f"{config.audit.real}: {count} subjects are too few to train an encoder, which needs {_LEAST_SUBJECTS}; name a "
            "trained one by --encoder (audit.encoder)"
        )
    options = _encoder_options(config, len(real.content))
    known_by = [AUDIT_RECIPE, real.content, subjects, as_settings(options), config.seed, str(config.device)]
    name = fingerprint(known_by)[:32]
    path = store.root / "encoders" / f"{name}.safetensors"
    if path.exists():
        logger.info("the encoder was trained on these images before")
        return path, {"source": "trained on the training images before", "training_seconds": None}
    seconds = _train_encoder(path, real, subjects, options, config)
    return path, {"source": "trained on the training images", "training_seconds": round(seconds, 1)}


def _encoder_options(config: Any, images: int) -> EncoderConfig:
    """Return section `encoder` with the misalignment of an audit, and fewer passes where there are many images."""
    from deepssim.encoders.families import MEMBERS

    encoder = config.encoder
    passes = max(1, config.audit.training_images // (MEMBERS * images))
    epochs = min(encoder.epochs, passes)
    return dataclasses.replace(
        encoder,
        augmentation=(*encoder.augmentation, *config.audit.misalignment),
        epochs=epochs,
        passes=min(encoder.passes, passes // epochs),
    )


def _train_encoder(path: Path, real: Collection, subjects: list[str], options: EncoderConfig, config: Any) -> float:
    """Train an encoder on the training images, apart by subject from those that validate it; return the seconds."""
    from deepssim.datasets.splits import split_by_subject
    from deepssim.datasets.tables import Split
    from deepssim.encoders.deepssim import save_encoder
    from deepssim.encoders.recipes import train_on_images
    from deepssim.images.keys import real_key
    from deepssim.images.packs import ImagePack

    fraction = max(_VALID_FRACTION, 2 / len(set(subjects)))
    splits = split_by_subject(subjects, valid_fraction=fraction, holdout_fraction=0.0, seed=config.seed)
    # Names of files are no image keys, and the encoder needs none of them.
    pack = ImagePack(real.pack.images, [real_key(f"image-{number}") for number in range(len(splits))])
    train, valid = (
        pack.select([key for key, split in zip(pack.keys, splits, strict=True) if split is wanted])
        for wanted in (Split.TRAIN, Split.VALID)
    )
    logger.info("training an encoder on %d images; name one by --encoder to save this time", len(train.keys))
    started = time.perf_counter()
    network, _ = train_on_images(
        train, valid, options, seed=config.seed, device=config.device, state=path.parent / f"state-{path.stem}"
    )
    seconds = time.perf_counter() - started
    with whole_outputs({"weights": path}) as outputs:
        save_encoder(outputs["weights"], network)
    logger.info("training the encoder took %.0f seconds", seconds)
    return seconds


def _embedder(weights: Path, config: Any) -> Callable[[ImagePack], Embeddings]:
    from deepssim.similarity.metrics import METRICS

    encode = METRICS[MetricName.DEEPSSIM].embed
    assert encode is not None
    # One precision for all runs: embeddings of earlier ones are compared with new ones.
    return lambda pack: encode(str(weights), pack, config.device, _BATCH, Precision.FLOAT32, config.published.trust)


def _sides(
    collections: dict[str, Collection],
    subjects: dict[str, list[str]],
    usable: np.ndarray | None,
    store: AuditCache,
    checksum: str,
    means: Means,
) -> Sides:
    from deepssim.evaluation.audit import Side, Sides

    sides = {
        name: Side(
            item.pack, item.content, subjects[name], store.embeddings(item.pack, item.content, checksum, means.embed)
        )
        for name, item in collections.items()
    }
    holdout = _part(sides["holdout"], usable) if usable is not None and usable.any() else None
    return Sides(sides["real"], sides["synthetic"], holdout)


def _neighbours(sides: Sides, store: AuditCache, checksum: str, k: int, threads: int) -> Neighbours:
    from deepssim.evaluation.neighbours import find_neighbours

    present = [side for side in (sides.train, sides.synthetic, sides.holdout) if side]
    return store.neighbours(
        [checksum, k, *([side.content, side.subjects] for side in present)],
        lambda: find_neighbours(
            sides.train.embeddings, sides.synthetic.embeddings,
            sides.holdout.embeddings if sides.holdout else None, sides.train.subjects, k=k, threads=threads,
        ),
    )  # fmt: skip


def _part(side: Side, chosen: np.ndarray) -> Side:
    """Return some images of a side."""
    import numpy as np

    from deepssim.images.packs import ImagePack

    rows = np.flatnonzero(chosen)

    def pick(values: Sequence[str]) -> list[str]:
        return [values[row] for row in rows.tolist()]

    keys = pick(side.pack.keys)
    embeddings = dataclasses.replace(side.embeddings, values=side.embeddings.values[rows], keys=keys)
    return dataclasses.replace(
        side, pack=ImagePack(side.pack.images[rows], keys), content=pick(side.content), subjects=pick(side.subjects),
        embeddings=embeddings,
    )  # fmt: skip


def _reconstruction(config: Any) -> Callable[[ImagePack], ImagePack] | None:
    """Return the round trip through the generator's autoencoder, where one is named."""
    if config.audit.autoencoder is None:
        return None
    from deepssim.devices import resolve_device
    from deepssim.generative.autoencoder import load_autoencoder, reconstruct
    from deepssim.images.packs import ImagePack
    from deepssim.images.standardize import quantise

    network = load_autoencoder(config.audit.autoencoder)
    device = resolve_device(config.device)
    return lambda pack: ImagePack(quantise(reconstruct(network, pack, device=device), pack.bit_depth), pack.keys)
