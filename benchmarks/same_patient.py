"""How often does an audit call an image of the same patient at another visit a copy, beside how often another patient's?

    python -m benchmarks.same_patient --csv shared/data/chest_xray.csv

Chest X-rays, and virtual patients with several visits; each audit divides the patients anew into training, held-out and "synthetic"
images. Everything after reading is the audit's own code. The table goes into docs/audit.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import REAL_DATA, ROOT
from benchmarks.audit import insert
from benchmarks.reidentification_data import Patients, chest_xrays, virtual_patients
from deepssim.audit.cache import AuditCache
from deepssim.audit.engine import embed_patterns
from deepssim.audit.examination import AuditFigures, examine
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.evaluation.intervals import Interval
from deepssim.images.folders import pixel_hashes
from deepssim.seeds import numpy_generator

PARTS = (0.5, 0.9)  # of the patients: training, then held-out, then "synthetic"
RATES = (0.02, 0.05, 0.1)  # false alarms to allow
CONTROLS = 20  # copied images, a third of which teach the score


def audits(patients: Patients, seed: int, threads: int) -> list[AuditFigures]:
    """Audit one division of the patients at each rate of false alarms.

    Args:
        patients: all images.
        seed: of the division and of the audits.
        threads: processor threads.
    """
    names = numpy_generator(seed, "same patient").permutation(sorted(set(patients.subjects)))
    parts = np.split(names, [round(part * len(names)) for part in PARTS])
    train, holdout, synthetic = (_side(patients.of(np.isin(patients.subjects, part))) for part in parts)
    tools = AuditTools(embed_patterns, False, seed, threads)
    with tempfile.TemporaryDirectory() as folder:  # whose candidates serve all rates
        return [
            examine(
                Sides(train, synthetic, holdout), [],
                AuditConfig(false_positive_rate=rate, controls=CONTROLS, bootstrap=20), tools, AuditCache(Path(folder)),
            )
            for rate in RATES
        ]  # fmt: skip


def _side(part: Patients) -> Side:
    return Side(part.pack, pixel_hashes(part.pack), part.subjects, embed_patterns(part.pack))


def table(name: str, found: Sequence[Sequence[AuditFigures]]) -> list[str]:
    """Return a row for each rate: the first division with its intervals, and the range of all."""
    rows = []
    for rate, figures in zip(RATES, zip(*found, strict=True), strict=True):
        known = [item.same_subject for item in figures]
        cells = [name, f"{100 * rate:g} %"]
        cells += [_of_all([item.rule.alarm_rate for item in figures])]
        cells += [
            _of_all([part for item in known if (part := getattr(item, kind)) is not None])
            for kind in ("called", "nearest")
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _of_all(rates: Sequence[Interval]) -> str:
    first, values = rates[0], [100 * rate.value for rate in rates]
    return (
        f"{first.count} of {first.total}: {100 * first.value:.1f} % ({100 * first.low:.1f} to {100 * first.high:.1f}); "
        f"{min(values):.1f} to {max(values):.1f} %"
    )


def main() -> None:
    """Parse the command line, audit and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--csv", type=Path, default=REAL_DATA / "chest_xray.csv", help="chest X-rays (default: %(default)s)"
    )
    parser.add_argument("--divisions", type=int, default=3, help="of the patients (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "audit.md", help="default: %(default)s")
    options = parser.parse_args()
    head = ["images", "false alarms allowed", "held-out patients called copies", "same patients at another visit called copies",
            "same patient is the best candidate"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, patients in (("chest X-rays", chest_xrays(options.csv)), ("virtual patients", virtual_patients())):
        found = [audits(patients, seed, options.threads) for seed in range(options.divisions)]
        lines += table(name, found)
        print(*lines[-len(RATES) :], sep="\n", file=sys.stderr, flush=True)
    insert(options.out, "same patient", lines)


if __name__ == "__main__":
    main()
