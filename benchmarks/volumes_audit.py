"""The audit of whole volumes among the detectors of volumes_rivals.py: the same examination that `deepssim audit` makes of folders.

Without a holdout: the limit is that of real scans among those of other patients, each without its own, as for the rivals.

Not here: scans and their copies (volumes_data.py), figures and tables (volumes.py).
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.copies_rivals import Part
from benchmarks.volumes_data import CONTROLS, SEED
from benchmarks.volumes_rivals import RATES, Detector, Judged
from deepssim.audit.cache import AuditCache
from deepssim.audit.examination import examine
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.audit.volume_engine import VOLUME_ENGINE
from deepssim.config.audit import AuditConfig
from deepssim.images.folders import pixel_hashes


def judge_by_audit(real: Part, learning: Part, judged: Part, threads: int, *, controls: int) -> Judged:
    """Audit scans.

    Args:
        real: real scans.
        learning: not used: the audit learns from the real scans and from copies of some of them.
        judged: scans that stand for synthetic ones.
        threads: processor threads.
        controls: real scans that the audit copies.
    """
    tools = AuditTools(VOLUME_ENGINE.embed, False, SEED, threads, engine=VOLUME_ENGINE)
    sides = Sides(_side(real), _side(judged), None)
    with TemporaryDirectory() as folder:  # whose candidates serve all rates
        found = [
            examine(
                sides, [], AuditConfig(false_positive_rate=rate, controls=controls, bootstrap=20), tools,
                AuditCache(Path(folder)),
            )
            for rate in RATES
        ]  # fmt: skip
    return Judged(
        scores=found[0].copies.scores, partners=found[0].copies.original,
        limits=[figures.rule.threshold for figures in found],
        promised=[float("nan") if figures.rule.promised_rate is None else figures.rule.promised_rate for figures in found],
        called=np.stack([figures.copies.flagged for figures in found]),
    )  # fmt: skip


def _side(part: Part) -> Side:
    return Side(part.pack, pixel_hashes(part.pack), part.subjects, VOLUME_ENGINE.embed(part.pack))


def audit(controls: int = CONTROLS) -> Detector:
    """Return the audit, which copies so many real scans itself."""
    return Detector("audit", "deepssim audit", partial(judge_by_audit, controls=controls))


AUDIT = audit()
