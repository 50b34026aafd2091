"""The audit: folders of real and synthetic images in, a verdict with its evidence out.

Not here: the statistics (examination.py), the page (page.py), the command line (cli.py).
"""

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from deepssim.audit.cache import AuditCache
from deepssim.audit.card import write_card
from deepssim.audit.comparison import OTHER, compare, read_summary
from deepssim.audit.examination import AuditFigures, examine
from deepssim.audit.inventory import folders_of
from deepssim.audit.page import write_page
from deepssim.audit.phantoms import MOST_IMAGES
from deepssim.audit.rating_page import write_rating
from deepssim.audit.rating_sample import RatingSample, draw_pairs
from deepssim.audit.read_folders import FoldersRead, read_folders
from deepssim.audit.readers import compare_readers, reader_names
from deepssim.audit.refusals import require_different_folders, require_large_images
from deepssim.audit.report_folder import report_folder
from deepssim.audit.requirements import require_usable
from deepssim.audit.result import AuditResult
from deepssim.audit.second_opinions import SecondOpinions, with_opinions
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.audit.stability import repetition, reseeded
from deepssim.audit.summary_pdf import write_pdf
from deepssim.audit.tables import AuditReport, write_tables
from deepssim.audit.tools import audit_tools, engine_of
from deepssim.config.settings import Config, parse_config
from deepssim.evaluation.verdict import Verdict
from deepssim.images.folders import Collection
from deepssim.images.listing import printable
from deepssim.runtime.private import cache_folder
from deepssim.runtime.progress import Steps

logger = logging.getLogger(__name__)

_STEPS = 7  # of an audit without held-out images
_STEPS_OF_HOLDOUT = 2  # comparing held-out images, and synthetic ones with training and held-out images together
_STEPS_OF_SEED = 5  # of them are repeated for every further seed


def run_audit(
    *,
    page: str,
    sheet: str,
    summary: str,
    pairs: str,
    files: str,
    keep: str,
    drop: str,
    cache: str,
    config: Config,
    rating_page: str | None = None,
    rating_table: str | None = None,
    threads: int = 1,
    card: str | None = None,
    compared: str | Path | None = None,
) -> dict[str, Any]:
    """Audit the folders that section `audit` names and write the report.

    Args:
        page, sheet, summary, pairs, files, keep, drop: files to write, see docs/audit.md.
        cache: folder for what the next audit need not compute again.
        config: of which sections `audit`, `encoder`, `published`, `seed` and `device` are used.
        rating_page, rating_table: files for readers to write, if any.
        threads: processor threads.
        card: Markdown file to write with a model card and a card of the synthetic images.
        compared: folder of an earlier report, which the page shows beside this one.

    Returns:
        What `summary` holds.

    Raises:
        ConfigError: if a folder is not named.
        DataError: if images cannot be read, or too few subjects are there to train an encoder.
    """
    started = time.perf_counter()
    other = None if compared is None else read_summary(compared)  # before hours of work, and before it is replaced
    options, store = config.audit, AuditCache(Path(cache))
    require_usable(options, config.published.trust)
    require_large_images(config)
    more = 0 if options.holdout is None else _STEPS_OF_HOLDOUT
    steps = Steps(_STEPS + more + (options.seeds - 1) * (_STEPS_OF_SEED + more))
    steps.start("reading images")
    read = read_folders(store, config, threads)
    store.unit = read.unit
    config = config.with_changes(audit=options.with_changes(unit=read.unit))  # which the user may have left open
    steps.expect(options.seeds * (_comparisons(read, options.controls) + options.visits))
    report, sample = _report(read, config, store, steps, threads)
    steps.start("writing the report")
    found = write_tables(report, summary=summary, pairs=pairs, files=files, keep=keep, drop=drop)
    name = OTHER if compared is None or options.de_identified else printable(Path(compared).resolve().name)
    write_page(page, report, found, comparison=None if other is None else compare(found, other, name), threads=threads)
    write_pdf(sheet, Path(page).read_text(encoding="utf-8"))
    if rating_page and rating_table:
        write_rating(rating_page, rating_table, report, sample, threads=threads)
    if card is not None:
        write_card(card, found)
    logger.info("audited in %.1f seconds", time.perf_counter() - started)
    return found


def _report(
    read: FoldersRead, config: Config, store: AuditCache, steps: Steps, threads: int
) -> tuple[AuditReport, RatingSample]:
    """Judge the images with all seeds, and by the readers; return also the pairs for readers."""
    options = config.audit
    judged = (_judged(read, other, store, steps, threads) for other in reseeded(config))
    sides, figures, about = next(judged)
    sample = draw_pairs(sides.train, sides.synthetic, figures.copies, options.rating_pairs, config.seed)
    readers = compare_readers(sample, options.ratings, reader_names(options), options.confidence)
    repetitions = [repetition(config.seed, figures, about["sha256"])]
    repetitions += [
        repetition(config.seed + place, found, other["sha256"])
        for place, (_, found, other) in enumerate(judged, start=1)
    ]
    opinions = SecondOpinions(tuple(repetitions) if options.seeds > 1 else (), readers)
    judgement = with_opinions(figures, opinions)
    report = AuditReport(
        sides, judgement, read.inventories, config, about, store.salt(), opinions=opinions, covariates=read.covariates
    )
    return report, sample


def _judged(
    read: FoldersRead, config: Config, store: AuditCache, steps: Steps, threads: int
) -> tuple[Sides, AuditFigures, dict[str, Any]]:
    """Judge the images with one seed; return also what the report says of the encoder."""
    options = config.audit
    steps.start("preparing the comparison" + (f", seed {config.seed}" if options.seeds > 1 else ""))
    tools, about = audit_tools(read.collections["real"], read.subjects["real"], store, config, threads)
    tools = dataclasses.replace(tools, steps=steps)
    sides = _sides(read.collections, read.subjects, read.usable, store, tools, about["sha256"])
    sides = dataclasses.replace(sides, visits=read.visits)
    unread = any(item.unread or item.unread_parts for item in read.inventories.values())
    complete = options.skip_unreadable or not unread
    return sides, examine(sides, read.findings, options, tools, store, complete=complete, draw=read.draw), about


def audit_folder(
    out: str | Path,
    *,
    config: Config,
    cache: str | Path | None = None,
    threads: int = 1,
    force: bool = False,
    card: bool = False,
    compared: str | Path | None = None,
) -> dict[str, Any]:
    """Audit and write all files into one folder; they appear together or not at all.

    Args:
        out: folder of the report; other files in it stay as they are.
        config: all settings.
        cache: folder of the cache; in the user's cache unless given, see `private.cache_folder`.
        threads: processor threads.
        force: replace a report that is there.
        card: write card.md, too.
        compared: folder of an earlier report, which the page shows beside this one.

    Returns:
        What `summary.json` holds.
    """
    require_different_folders(folders_of(config.audit), Path(out))
    with cache_folder("audit", cache) as place, report_folder(out, config, force=force, card=card) as outputs:
        return run_audit(**outputs, cache=str(place), config=config, threads=threads, compared=compared)


def audit_images(
    real: str | Path,
    synthetic: str | Path,
    out: str | Path,
    *,
    encoder_settings: dict[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    cache: str | Path | None = None,
    threads: int = 2,
    force: bool = False,
    card: bool = False,
    compared: str | Path | None = None,
    **settings: Any,
) -> AuditResult:
    """Find out which synthetic images copy training images, and write the report: `deepssim.audit` in a notebook.

    Args:
        real, synthetic: folders of images.
        out: folder of the report.
        encoder_settings: section `encoder` of the config, for an encoder that is trained here.
        seed, device, cache, threads, force, card: as of `deepssim audit`.
        compared: folder of an earlier report, which the page shows beside this one, as with `--compare`.
        settings: keys of the config's section `audit`, for example `holdout`, `encoder` or `false_positive_rate`.

    Returns:
        What summary.json holds (verdict, figures with intervals, controls, settings), with the pairs as a table and a summary
        that a notebook shows.
    """
    chosen = {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in settings.items()
    }
    config = parse_config(
        {
            "seed": seed,
            "device": device,
            "encoder": encoder_settings or {},
            "audit": chosen | {"real": str(real), "synthetic": str(synthetic)},
        }
    )
    found = audit_folder(out, config=config, cache=cache, threads=threads, force=force, card=card, compared=compared)
    return AuditResult(found, out)


def above_limit(found: dict[str, Any], rate: float) -> bool:
    """Return whether copies were found and their rate, less false alarms, exceeds a limit with any seed.

    Args:
        found: what `summary.json` holds.
        rate: fraction of the synthetic images, 0 to 1.
    """
    runs = [found["figures"], *found["stability"].get("runs", [])]
    estimate = max(run["synthetic_that_copy"]["value"] for run in runs)
    return found["verdict"]["result"] == Verdict.COPIES and (rate == 0 or estimate > rate)


def _comparisons(read: FoldersRead, controls: int) -> int:
    """Return how many images are compared: all with the training images, copies of these, and some with held-out images, too."""
    images = {name: len(item.pack.keys) for name, item in read.collections.items()}
    again = min(images["synthetic"], MOST_IMAGES) if "holdout" in images else 0
    return sum(images.values()) + min(controls, images["real"]) * len(engine_of(read.unit).distortions) + again


def _sides(
    collections: dict[str, Collection],
    subjects: dict[str, list[str]],
    usable: np.ndarray | None,
    store: AuditCache,
    tools: AuditTools,
    checksum: str,
) -> Sides:
    sides = {}
    for name, item in collections.items():
        embeddings = store.embeddings(item.pack, item.pixel_hashes, checksum, tools.embed)
        if name != "synthetic":
            embeddings = dataclasses.replace(embeddings, values=np.asarray(embeddings.values))
        sides[name] = Side(item.pack, item.pixel_hashes, subjects[name], embeddings)
    holdout = sides["holdout"].part(usable) if usable is not None and usable.any() else None
    return Sides(sides["real"], sides["synthetic"], holdout)
