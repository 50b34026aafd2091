"""Measure memory and processor time of audits of many synthetic images: `python -m benchmarks.audit_size`.

A made set of images of 64x64 pixels is audited in a process of its own at each number of images, with nothing cached, and what a
million would need is worked out from the difference between the last two. The table goes into docs/audit.md. `--without-search`
compares 32 images of each batch and gives their candidates to the others: memory of all the rest, in a tenth of the time. `--real`
is the number of training images, each of which is compared with all others first.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import zoom

from benchmarks import ROOT
from benchmarks.audit import insert
from benchmarks.measure import Used, run_measured
from deepssim.audit.engine import IMAGE_ENGINE
from deepssim.detection.gallery import Gallery
from deepssim.detection.search import Found
from deepssim.images.packs import ImagePack

REAL = HOLDOUT = 40  # training and held-out images; what those take does not grow with the number of synthetic ones
SIDE, COARSE = 64, 8  # pixels of an image, and of the noise that it is enlarged from
MILLION = 1_000_000
_AT_ONCE = 1000  # images drawn together
_COMPARED = 32  # images of a batch that are compared without a full search
_WITHOUT_SEARCH = """
import sys
from benchmarks.audit_size import without_search
from deepssim.cli import main
without_search()
sys.exit(main(sys.argv[1:]))
"""
_CONFIG = "audit:\n  controls: 10\n  visits: 1\n"  # work that does not depend on the synthetic images


def made_images(count: int, seed: int) -> Iterator[np.ndarray]:
    """Draw smooth pictures, uint8 (64, 64); the first ones are the same whatever the number."""
    for start in range(0, count, _AT_ONCE):
        random = np.random.default_rng([seed, start])
        coarse = random.normal(size=(_AT_ONCE, COARSE, COARSE)).astype(np.float32)
        values = zoom(coarse, (1, SIDE // COARSE, SIDE // COARSE), order=1, prefilter=False)
        yield from np.clip(40 * values + 128, 0, 255).astype(np.uint8)[: count - start]


def write_images(folder: Path, count: int, seed: int) -> None:
    """Write made images as PNG files."""
    folder.mkdir(parents=True)
    for number, image in enumerate(made_images(count, seed)):
        Image.fromarray(image).save(folder / f"{number:07d}.png", compress_level=1)


def without_search() -> None:
    """Let audits of this process compare few images of each large batch, of which the others get the candidates."""
    search = IMAGE_ENGINE.search

    def some(gallery: Gallery, pack: ImagePack, **options: Any) -> Found:
        count = len(pack.keys)
        if count < _AT_ONCE:  # controls and training images
            return search(gallery, pack, **options)
        found = search(gallery, ImagePack(pack.images[:_COMPARED], pack.keys[:_COMPARED]), **options)
        return found.part(np.arange(count) % _COMPARED)

    object.__setattr__(IMAGE_ENGINE, "search", some)


def measure(folder: Path, count: int, *, searching: bool) -> Used:
    """Audit so many made images on one thread, with nothing cached."""
    write_images(folder / f"synthetic-{count}", count, seed=2)
    (folder / "config.yaml").write_text(_CONFIG, encoding="utf-8")
    program = ("-m", "deepssim.cli") if searching else ("-c", _WITHOUT_SEARCH)
    command = [
        sys.executable, *program, "audit", str(folder / "real"), str(folder / f"synthetic-{count}"),
        "--holdout", str(folder / "holdout"),
        "--out", str(folder / f"report-{count}"), "--cache", str(folder / f"cache-{count}"),
        "--config", str(folder / "config.yaml"), "--threads", "1", "--fail-above", "1",
    ]  # fmt: skip
    used = run_measured(command)
    if used.status:
        raise SystemExit(f"the audit of {count:,} images ended with status {used.status}")
    return used


def table_lines(counts: Sequence[int], found: Sequence[Used]) -> list[str]:
    """Return the table in Markdown; its last row is extrapolated from the two before."""
    between = counts[-1] - counts[-2]
    memory = 1e9 * (found[-1].peak_gb - found[-2].peak_gb) / between
    time = (found[-1].processor_seconds - found[-2].processor_seconds) / between
    rest = MILLION - counts[-1]
    peak, hours = found[-1].peak_gb + rest * memory / 1e9, (found[-1].processor_seconds + rest * time) / 3600
    lines = [
        "| synthetic images | peak memory, GB | processor time, s | ms per image |",
        "| --- | --- | --- | --- |",
    ]
    for count, used in zip(counts, found, strict=True):
        each = 1000 * used.processor_seconds / count
        lines.append(f"| {count:,} | {used.peak_gb:.2f} | {used.processor_seconds:.0f} | {each:.2f} |")
    return [
        *lines,
        f"| {MILLION:,}, extrapolated | {peak:.2f} | {3600 * hours:.0f} | {3600 * 1000 * hours / MILLION:.2f} |",
        "",
        f"Each further image takes {memory:,.0f} bytes of memory and {1000 * time:.2f} ms of processor time.",
    ]


def main() -> None:
    """Parse the command line, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 100_000], help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "audit.md", help="default: %(default)s")
    parser.add_argument("--real", type=int, default=REAL, help="training images; default: %(default)s")
    parser.add_argument("--without-search", action="store_true", help="compare few images only, to measure memory")
    options = parser.parse_args()
    if len(options.counts) < 2:
        parser.error("--counts needs two numbers of images, between which memory grows")
    with tempfile.TemporaryDirectory() as name:
        write_images(Path(name, "real"), options.real, seed=1)
        write_images(Path(name, "holdout"), HOLDOUT, seed=3)
        found = [measure(Path(name), count, searching=not options.without_search) for count in options.counts]
    insert(options.out, "many images", table_lines(options.counts, found))


if __name__ == "__main__":
    main()
