"""Does the audit find what was planted? Copies of training images among images of other patients, at known rates.

    python -m benchmarks.audit shared/data/chest_xray.csv

Patients are divided in three: training images, held-out images, and images that stand for synthetic ones without copies.
Copies of training images are added to the last, a third of them unchanged, the others through one distortion each. Every
repetition divides the patients outside of the training set anew and copies other images. The tables go into
docs/audit.md, the memorization index by planted share into docs/memorization-index.svg; `--size` adds the time and
memory of 2,000 real against 20,000 synthetic images.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

import deepssim
from benchmarks import ROOT
from benchmarks.measure import run_measured
from deepssim.evaluation.intervals import share_interval
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack
from deepssim.seeds import numpy_generator

RATES = (0.0, 0.02, 0.10, 0.30)
REPETITIONS = 3
TRAIN, HOLDOUT = 130, 85  # patients
FALSE_POSITIVES = 0.02
LARGE = (2000, 20_000)  # real and synthetic images for time and memory
SIDE = 128  # their height and width in pixels
FIGURE = "memorization-index.svg"


def read_images(csv: Path) -> pd.DataFrame:
    """Return the table without files that repeat another one, so that every count has one meaning."""
    table = pd.read_csv(csv, dtype=str)
    table["path"] = [str((csv.parent / name).resolve()) for name in table["image_path"]]
    table["pixels"] = [Image.open(path).convert("L").tobytes() for path in table["path"]]
    return table.drop_duplicates("pixels").drop(columns="pixels").reset_index(drop=True)


def write_sides(table: pd.DataFrame, folder: Path) -> None:
    """Link images into folders: `real`, and for every repetition `holdout` and `other` of its own, apart by patient."""
    subjects = numpy_generator(0, "audit benchmark").permutation(sorted(set(table["subject"])))
    _link(table, set(subjects[:TRAIN]), folder / "real")
    for repetition in range(REPETITIONS):
        rest = numpy_generator(repetition, "audit holdout").permutation(subjects[TRAIN:])
        _link(table, set(rest[:HOLDOUT]), folder / f"holdout-{repetition}")
        _link(table, set(rest[HOLDOUT:]), folder / f"other-{repetition}")


def _link(table: pd.DataFrame, subjects: set[str], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for row in table.itertuples():
        if row.subject in subjects:
            link = place / f"{row.subject}_{Path(row.path).name}"
            if not link.exists():
                link.symlink_to(row.path)


def plant(folder: Path, rate: float, repetition: int) -> tuple[Path, dict[str, str]]:
    """Make a synthetic folder with a share of copies; return it and the distortion of each copy by file name."""
    random = numpy_generator(repetition, "planted", str(rate))
    place = folder / f"synthetic-{round(100 * rate)}-{repetition}"
    place.mkdir(exist_ok=True)
    others = sorted((folder / f"other-{repetition}").iterdir())
    for path in others:
        if not (place / path.name).exists():
            (place / path.name).symlink_to(path.resolve())
    originals = sorted((folder / "real").iterdir())
    count = round(rate / (1 - rate) * len(others))
    kinds = [name for name in DISTORTIONS if name != "none"]
    planted = {}
    for number, row in enumerate(random.choice(len(originals), count, replace=False)):
        kind = "none" if number % 3 == 0 else str(random.choice(kinds))
        image, other = (np.asarray(Image.open(originals[index]).convert("L"))[None] for index in (row, row - 1))
        pack = ImagePack(image, [f"{rate}-{repetition}-{number}"])
        copy = distort(pack, kind, repetition, others=ImagePack(other, ["other"]))
        name = f"copy-{number:03d}.png"
        Image.fromarray(copy.images[0]).save(place / name)
        planted[name] = kind
    return place, planted


def judge(folder: Path, encoder: str | None, rate: float, repetition: int, threads: int) -> dict[str, Any]:
    """Audit one planted folder and compare with what is known."""
    place, planted = plant(folder, rate, repetition)
    found = deepssim.audit(
        folder / "real", place, folder / f"report-{place.name}", holdout=folder / f"holdout-{repetition}", encoder=encoder,
        subject_pattern="^([0-9]+)_", false_positive_rate=FALSE_POSITIVES, cache=folder / "cache", threads=threads, force=True,
    )  # fmt: skip
    dropped = set((folder / f"report-{place.name}" / "drop.txt").read_text().split())
    images = len(list(place.iterdir()))
    estimate, missed = (found["figures"][name] for name in ("synthetic_that_copy", "with_missed"))
    unchanged = [name for name, kind in planted.items() if kind == "none"]
    return {
        "images": images,
        "planted": len(planted) / images,
        "estimate": estimate,
        "with_missed": missed,
        "identical": len(unchanged),
        "identical_found": len(dropped & set(unchanged)),
        "changed": len(planted) - len(unchanged),
        "changed_found": len(dropped & (set(planted) - set(unchanged))),
        "genuine": images - len(planted),
        "false_alarms": len(dropped - set(planted)),
        "index": found["further"]["memorization_index"]["excess"],
        "verdict": found["verdict"]["result"],
        "controls": found["controls"],
        "encoder": found["encoder"],
    }


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return the tables in Markdown."""
    lines = [
        "| planted | N_copies (95 % interval) | with missed copies added | memorization index | unchanged copies found "
        "| changed copies found | false alarms |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        shares = [_share(row[name], row["planted"]) for name in ("estimate", "with_missed")]
        lines.append(
            f"| {row['planted']:.1%} of {row['images']} | {shares[0]} | {shares[1]} | {row['index']:.3f} "
            f"| {row['identical_found']} of {row['identical']} | {row['changed_found']} of {row['changed']} "
            f"| {row['false_alarms']} of {row['genuine']} ({row['false_alarms'] / row['genuine']:.1%}) |"
        )
    first = rows[:REPETITIONS]  # other rates have the same patients
    alarms = share_interval(sum(row["false_alarms"] for row in first), sum(row["genuine"] for row in first))
    controls = [row["controls"]["negative"]["false_alarms"] for row in first]
    encoder = rows[0]["encoder"]
    lines += [
        "",
        f"Encoder: {encoder['source']}{', SHA-256 `' + encoder['sha256'][:16] + '…`' if encoder['sha256'] else ''}. "
        f"Rows of one rate differ in the division of patients and in the images copied. Stated rate of false alarms: "
        f"{FALSE_POSITIVES:.0%}; observed over the {len(first)} divisions: {alarms.count} of {alarms.total} images of other patients "
        f"({alarms.value:.1%}, {alarms.low:.1%} to {alarms.high:.1%}); as measured by the negative controls of each audit: "
        + ", ".join(f"{item['value']:.1%}" for item in controls)
        + ". The memorization index is the mean of the synthetic images less that of the held-out ones.",
        "",
        "| copy of a training image | found (95 % interval) | traced to the patient |",
        "| --- | --- | --- |",
    ]
    for control in rows[0]["controls"]["positive"]:
        share = control["found"]
        lines.append(
            f"| {control['distortion']} | {share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%}) "
            f"| {control['traced']['value']:.1%} |"
        )
    return lines


def index_figure(rows: list[dict[str, Any]]) -> Figure:
    """Plot the memorization index against the planted share: one point for each audit, a line through the means."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    shares, index = (np.array([row[name] for row in rows]).reshape(-1, REPETITIONS) for name in ("planted", "index"))
    axes.plot([0, shares.max()], [0, shares.max()], color="0.6", linestyle="--", label="fraction of copies")
    axes.plot(shares.mean(axis=1), index.mean(axis=1), color="C0", label="mean of the audits")
    axes.plot(shares.ravel(), index.ravel(), "o", color="C0", alpha=0.5, markersize=5, label="one audit")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(
        xlabel="synthetic images that are planted copies", ylabel="memorization index,\nsynthetic less held-out images"
    )
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _share(interval: dict[str, Any], truth: float) -> str:
    outside = "" if interval["low"] <= truth <= interval["high"] else ", **outside**"
    return f"{interval['value']:.1%} ({interval['low']:.1%} to {interval['high']:.1%}{outside})"


def write_many(folder: Path, counts: tuple[int, int]) -> None:
    """Write real and synthetic images with coarse and fine structures, so that they have keypoints as images of patients do."""
    random = np.random.default_rng(0)
    for name, count in zip(("many-real", "many-synthetic"), counts, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / name / f"{number:05d}.png"
            image = _smooth(random, 8) + _smooth(random, 32)
            if not path.exists():
                Image.fromarray(np.clip(40 * image + 128, 0, 255).astype(np.uint8)).save(path)


def _smooth(random: np.random.Generator, part: int) -> np.ndarray:
    """Draw structures of a part of the side, float32 (SIDE, SIDE)."""
    coarse = Image.fromarray(random.normal(size=(part, part)).astype(np.float32))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def measure_size(folder: Path, encoder: str | None, threads: int) -> str:
    """Audit as many images as real studies have, in a process of its own; return a sentence."""
    write_many(folder, LARGE)
    report = folder / "report-many"
    command = [
        sys.executable, "-m", "deepssim.cli", "audit", str(folder / "many-real"), str(folder / "many-synthetic"),
        "--out", str(report), "--force", "--threads", str(threads), "--cache", str(folder / f"cache-{time.time_ns()}"), "--fail-above", "1",
        *(("--encoder", encoder) if encoder else ()),
    ]  # fmt: skip
    used = run_measured(command)
    if used.status:
        raise SystemExit(f"the audit ended with status {used.status}")
    size = sum(path.stat().st_size for path in report.iterdir()) / 1e6
    how = "with a given encoder" if encoder else "without an encoder"
    return (
        f"{LARGE[0]:,} real against {LARGE[1]:,} synthetic PNG files of {SIDE}x{SIDE} pixels {how}, {threads} threads, nothing "
        f"cached: {used.seconds:.0f} seconds, at most {used.peak_gb:.1f} GB of memory, report of {size:.1f} MB."
    )


def insert(path: Path, name: str, lines: list[str]) -> None:
    """Put lines between the two comments of this name."""
    text = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    path.write_text(pattern.sub(lambda match: match[1] + "\n".join(["", *lines, "", match[2]]), text), encoding="utf-8")


def main() -> None:
    """Parse the command line, plant, audit and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("csv", type=Path, help="CSV with image_path (relative to it) and subject")
    parser.add_argument("--encoder", help="trained encoder; none is needed")
    parser.add_argument("--size", action="store_true", help="measure time and memory too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("results/audit-benchmark"), help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "audit.md", help="default: %(default)s")
    options = parser.parse_args()
    folder = options.work.resolve()
    table = read_images(options.csv)
    write_sides(table, folder)
    rows = [
        judge(folder, options.encoder, rate, repetition, options.threads)
        for rate in RATES
        for repetition in range(REPETITIONS)
    ]
    (folder / "rows.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    insert(options.out, "planted copies", table_lines(rows))
    index_figure(rows).savefig(options.out.parent / FIGURE, metadata={"Date": None})
    if options.size:
        insert(options.out, "size", [measure_size(folder, options.encoder, options.threads)])
    print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
