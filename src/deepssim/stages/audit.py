"""The stage that audits folders of images."""

import logging

from deepssim.audit.run import run_audit
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import Device
from deepssim.config.encoders import EncoderConfig, PublishedConfig
from deepssim.config.settings import Config

logger = logging.getLogger(__name__)


def audit(
    *,
    page: str,
    sheet: str,
    summary: str,
    pairs: str,
    files: str,
    keep: str,
    drop: str,
    cache: str,
    audit: AuditConfig,
    encoder: EncoderConfig,
    published: PublishedConfig,
    seed: int,
    device: Device,
    rating_page: str | None = None,
    rating_table: str | None = None,
    threads: int = 1,
) -> None:
    """Judge which synthetic images copy training images, without labels.

    Args:
        page, sheet, summary, pairs, files, keep, drop: files to write, see docs/audit.md.
        cache: folder for what the next audit need not compute again.
        audit, encoder, published, seed, device: settings; section `audit` names the folders.
        rating_page, rating_table: files for readers to write, if any.
        threads: processor threads.
    """
    config = Config(audit=audit, encoder=encoder, published=published, seed=seed, device=device)
    found = run_audit(
        page=page, sheet=sheet, summary=summary, pairs=pairs, files=files, keep=keep, drop=drop, cache=cache, config=config,
        rating_page=rating_page, rating_table=rating_table, threads=threads,
    )  # fmt: skip
    logger.info("%s: %s", found["verdict"]["result"], found["verdict"]["sentence"])
