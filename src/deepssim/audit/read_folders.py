"""What the folders of an audit hold, before anything depends on chance: read once, whatever number of seeds.

Not here: reading one folder (inventory.py), what is refused (refusals.py).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepssim.audit.cache import AuditCache
from deepssim.audit.context import context_findings
from deepssim.audit.inventory import Inventory, find_subjects_of, folders_of, take_inventory
from deepssim.audit.metadata import patients_by_metadata
from deepssim.audit.preflight import Finding, preflight
from deepssim.audit.random_draw import RandomDraw, declared_draw
from deepssim.audit.refusals import require_several_subjects, require_sides_apart
from deepssim.audit.subjects import columns_of, visits_of
from deepssim.audit.traces import single_axis_findings
from deepssim.config.choices import AuditUnit
from deepssim.config.settings import Config
from deepssim.images.folders import Collection


@dataclass(frozen=True)
class FoldersRead:
    """What the folders hold, whatever the seed.

    Attributes:
        inventories, collections, subjects: by side.
        findings: of the pre-flight, and of what the user stated.
        usable: which held-out images may be used, bool; None without any.
        draw: of members at random, if the table of subjects declares one.
        visits: of the training images.
        covariates: text of each training image by column; empty where it is not known.
    """

    inventories: dict[str, Inventory]
    collections: dict[str, Collection]
    subjects: dict[str, list[str]]
    findings: list[Finding]
    usable: np.ndarray | None
    draw: RandomDraw | None
    visits: list[str]
    covariates: dict[str, list[str]]

    @property
    def unit(self) -> AuditUnit:
        """What is compared: images or volumes."""
        return self.inventories["real"].unit


def read_folders(store: AuditCache, config: Config, threads: int) -> FoldersRead:
    """Read all folders and find out what is wrong with them.

    Args:
        store: cache of decoded images.
        config: of which section `audit` is used.
        threads: files read at a time.

    Raises:
        DataError: if images cannot be read, or the folders do not allow an audit.
    """
    options = config.audit
    inventories = take_inventory(folders_of(options), store, options, threads)
    collections = {name: item.collection for name, item in inventories.items()}
    subjects = {name: find_subjects_of(item, name, store, options) for name, item in inventories.items()}
    metadata_findings: list[Finding] = []
    if options.subjects is None and options.subject_pattern is None:
        named, metadata_findings = patients_by_metadata(inventories, subjects, store.salt(), hide=options.de_identified)
        subjects |= named
    require_several_subjects(collections, subjects, options.subjects)
    require_sides_apart(collections, folders_of(options))
    draw = declared_draw(options, subjects["real"], subjects.get("holdout", []))
    findings, usable = preflight(inventories, subjects, options)
    findings += metadata_findings
    findings += single_axis_findings(collections["real"].pack.keys, collections["synthetic"].pack.keys, options)
    findings += context_findings(options.context, len(collections["real"].pack.keys))
    real = inventories["real"]
    visits = visits_of(real.collection, real.root, options.subjects)
    covariates = {}
    if options.subjects is not None and options.covariates:
        covariates = columns_of(real.collection, real.root, Path(options.subjects), options.covariates)
    return FoldersRead(inventories, collections, subjects, findings, usable, draw, visits, covariates)
