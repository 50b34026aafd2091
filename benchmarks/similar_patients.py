"""How often does an audit find copies among similar patients, none of whom is a copy of another?

    python -m benchmarks.similar_patients

Virtual patients whose brains differ by a deformation of 2 mm only; every audit divides them anew into training, held-out and
"synthetic" images. Everything after reading is the audit's own code.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks import ROOT
from benchmarks.audit import insert
from deepssim.audit.cache import AuditCache
from deepssim.audit.engine import embed_patterns
from deepssim.audit.examination import Verdict, examine
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import Contrast
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, scan
from deepssim.evaluation.intervals import share_interval
from deepssim.images.folders import pixel_hashes
from deepssim.images.packs import ImagePack
from deepssim.seeds import numpy_generator

SIZE = (64, 64)
PATIENTS = VirtualPatientsConfig(deformation_mm=2.0)
SLICE_MM = 20.0
TRAIN, SYNTHETIC = 300, 1300
HOLDOUT = (30, 100, 300)
CONTROLS = 10  # copied images: the verdict does not wait for precise rates of found copies


def population(count: int) -> ImagePack:
    """Return one slice of each virtual patient, uint8."""
    images = [
        scan(make_patient(number, PATIENTS, 0), Contrast.T1, SLICE_MM, SIZE, PATIENTS.noise)[0]
        for number in range(count)
    ]
    return ImagePack(
        np.round(255 * np.stack(images)).astype(np.uint8), [f"patient-{number}" for number in range(count)]
    )


def audit(pack: ImagePack, parts: tuple[int, int, int], seed: int, threads: int) -> Verdict:
    """Audit other patients in place of synthetic images.

    Args:
        pack: one image of each patient.
        parts: training, synthetic and held-out images to draw.
        seed: of the division.
        threads: processor threads.
    """
    order = numpy_generator(seed, "similar patients", str(parts[2])).permutation(len(pack.keys))
    ends = np.cumsum(parts)
    train, synthetic, holdout = (_side(pack, rows) for rows in np.split(order[: ends[-1]], ends[:-1]))
    sides = Sides(train, synthetic, holdout)
    tools = AuditTools(embed_patterns, False, seed, threads)
    options = AuditConfig(gallery=1, borderline=2, controls=CONTROLS, bootstrap=20)
    with tempfile.TemporaryDirectory() as folder:
        return examine(sides, [], options, tools, AuditCache(Path(folder))).verdict


def _side(pack: ImagePack, rows: np.ndarray) -> Side:
    part = pack.select([pack.keys[row] for row in rows])
    return Side(part, pixel_hashes(part), list(part.keys), embed_patterns(part))


def main() -> None:
    """Parse the command line, audit and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--audits", type=int, default=7, help="of each size of holdout (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "audit.md", help="default: %(default)s")
    options = parser.parse_args()
    pack = population(TRAIN + SYNTHETIC + max(HOLDOUT))
    lines = ["| held-out patients | audits | *copies found* | other verdicts |", "| --- | --- | --- | --- |"]
    for holdout in HOLDOUT:
        found = Counter(
            audit(pack, (TRAIN, SYNTHETIC, holdout), seed, options.threads) for seed in range(options.audits)
        )
        rate = share_interval(found[Verdict.COPIES], options.audits)
        others = ", ".join(f"{verdict.value}: {count}" for verdict, count in found.items() if verdict != Verdict.COPIES)
        lines.append(
            f"| {holdout} | {options.audits} | {rate.count} ({rate.value:.0%}, 95 % interval {rate.low:.0%} to {rate.high:.0%}) "
            f"| {others or 'none'} |"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    insert(options.out, "similar patients", lines)


if __name__ == "__main__":
    main()
