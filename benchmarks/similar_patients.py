"""How often does an audit find copies among similar patients, none of whom is a copy of another?

    python -m benchmarks.similar_patients results/encoders/deepssim.safetensors

Virtual patients whose brains differ by a deformation of 2 mm only; every audit divides them anew into training, held-out and
"synthetic" images. Everything after the embedding is the audit's own code, with fewer images aligned than by default.
"""

import argparse
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import ROOT
from benchmarks.audit import insert
from deepssim.audit.examination import Verdict, examine
from deepssim.audit.retrieval import find_neighbours
from deepssim.audit.sides import AuditTools, Side, Sides
from deepssim.config.audit import AuditConfig
from deepssim.config.choices import Contrast, Device, MetricName, Precision
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.datasets.virtual_patients import make_patient, scan
from deepssim.evaluation.intervals import share_interval
from deepssim.images.packs import ImagePack
from deepssim.metrics import METRICS
from deepssim.seeds import numpy_generator
from deepssim.similarity.embeddings import Embeddings

SIZE = (64, 64)
PATIENTS = VirtualPatientsConfig(deformation_mm=2.0)
SLICE_MM = 20.0
TRAIN, SYNTHETIC = 300, 1300
HOLDOUT = (30, 100, 300)


def population(count: int, weights: str) -> tuple[ImagePack, Embeddings]:
    """Return one slice of each virtual patient, uint8, and its embedding."""
    images = [
        scan(make_patient(number, PATIENTS, 0), Contrast.T1, SLICE_MM, SIZE, PATIENTS.noise)[0]
        for number in range(count)
    ]
    pack = ImagePack(
        np.round(255 * np.stack(images)).astype(np.uint8), [f"patient-{number}" for number in range(count)]
    )
    return pack, embed(weights, pack)


def embed(weights: str, pack: ImagePack) -> Embeddings:
    """Embed images with a DeepSSIM encoder."""
    encode = METRICS[MetricName.DEEPSSIM].embed
    assert encode is not None
    return encode(weights, pack, Device.CPU, 256, Precision.FLOAT32, [])


def audit(pack: ImagePack, embeddings: Embeddings, weights: str, holdout: int, verified: int, seed: int) -> Verdict:
    """Audit other patients in place of synthetic images."""
    order = numpy_generator(seed, "similar patients", str(holdout)).permutation(len(pack.keys))
    ends = np.cumsum([TRAIN, SYNTHETIC, holdout])
    train, synthetic, held_out = (_side(pack, embeddings, rows) for rows in np.split(order[: ends[-1]], ends[:-1]))
    neighbours = find_neighbours(
        train.embeddings, synthetic.embeddings, held_out.embeddings, train.subjects, k=50, threads=1
    )
    tools = AuditTools(partial(embed, weights), seed)
    options = AuditConfig(verified=verified, gallery=1, borderline=2, controls=10, bootstrap=20)
    return examine(Sides(train, synthetic, held_out), neighbours, [], options, tools).verdict


def _side(pack: ImagePack, embeddings: Embeddings, rows: np.ndarray) -> Side:
    part = pack.select([pack.keys[row] for row in rows])
    return Side(part, list(part.keys), list(part.keys), _rows(embeddings, rows))


def _rows(embeddings: Embeddings, rows: np.ndarray | list[int]) -> Embeddings:
    keys = [embeddings.keys[row] for row in rows]
    return Embeddings(embeddings.values[rows], keys, embeddings.encoder, embeddings.checksum)


def main() -> None:
    """Parse the command line, audit and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", help="trained DeepSSIM encoder")
    parser.add_argument("--audits", type=int, default=7, help="of each size of holdout (default: %(default)s)")
    parser.add_argument("--verified", type=int, default=60, help="images aligned on each side (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "audit.md", help="default: %(default)s")
    options = parser.parse_args()
    pack, embeddings = population(TRAIN + SYNTHETIC + max(HOLDOUT), options.weights)
    lines = ["| held-out patients | audits | *copies found* | other verdicts |", "| --- | --- | --- | --- |"]
    for holdout in HOLDOUT:
        found = Counter(
            audit(pack, embeddings, options.weights, holdout, options.verified, seed) for seed in range(options.audits)
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
