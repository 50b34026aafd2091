"""Which audit a report is of: when, by whom, with which program, of which images.

Not here: provenance records of single files (runtime/records.py), settings (tables.py).
"""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deepssim.audit.inventory import Inventory
from deepssim.images.folders import checksums
from deepssim.images.listing import printable
from deepssim.runtime.provenance import fingerprint, package_version


def report_date() -> str:
    """Return date and time in UTC, the only thing in a report that differs when an audit is repeated.

    `SOURCE_DATE_EPOCH` (seconds since 1970) replaces the clock, as in other reproducible builds.
    """
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def identity(
    inventories: Mapping[str, Inventory], *, date: str, auditor: str | None, settings_sha256: str, hidden: bool
) -> dict[str, Any]:
    """Return what identifies a report.

    Args:
        inventories: the files, by side.
        date: of the audit.
        auditor: who made it, if stated.
        settings_sha256: SHA-256 of all settings.
        hidden: leave out names and folders.

    Returns:
        `date`, `auditor` (None if not stated), `program`, `settings_sha256` and `data`, which has for each side its `name` and
        `folder` (None if hidden), the number of `files` with images, and `sha256` of their sorted checksums.

    Raises:
        DataError: if a file can no longer be read.
    """
    return {
        "date": date,
        "auditor": auditor,
        "program": f"deepssim {package_version()}",
        "settings_sha256": settings_sha256,
        "data": {side: _data_set(item, hidden=hidden) for side, item in inventories.items()},
    }


def _data_set(inventory: Inventory, *, hidden: bool) -> dict[str, Any]:
    files = list(dict.fromkeys(path for members in inventory.collection.members for path in members))
    contents = checksums(files, 2)
    for content in contents:
        if isinstance(content, Exception):
            raise content
    return {
        "name": None if hidden else printable(inventory.root.resolve().name),
        "folder": None if hidden else printable(str(inventory.root)),
        "files": len(files),
        "sha256": fingerprint(sorted(map(str, contents))),
    }
