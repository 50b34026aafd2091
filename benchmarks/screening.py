"""Copies and top-10 lists of SSIM from estimates beside the whole matrix: `python -m benchmarks.screening`.

Real images are brain MR slices from DEEPSSIM_REAL_DATA in the paper's size. Synthetic ones are made of them: blends of two slices,
blurred or with noise, slices that are not among the real ones, and near copies of real ones (the changes of the audit's
controls). All ways run in turn; what they find is compared pair by pair. Prints a table for docs/benchmarks.md.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.run import THREADS, images_of, ssim_of_files
from deepssim.config.evaluation import SimilarityConfig
from deepssim.images.distort import DISTORTIONS, distort
from deepssim.images.packs import ImagePack, open_pack, write_pack
from deepssim.similarity.matrices import read_scores, write_top
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.top_scores import TopScores
from deepssim.similarity.top_search import find_pairs_above

COPIES, LABELLED = 0.85, 15_000


def made_images(slices: np.ndarray, real: int, count: int) -> np.ndarray:
    """Make synthetic images; the first `real` slices are the real images.

    Args:
        slices: uint8 (N, H, W).
        real: number of real images.
        count: number of images to make.
    """
    random = np.random.default_rng(0)
    near = [
        distort(ImagePack(slices[chosen], [str(n) for n in chosen]), name, 0).images
        for name in DISTORTIONS
        for chosen in [np.sort(random.choice(real, max(1, count // 1000), replace=False))]
    ]
    images = [*np.concatenate(near), *slices[real:]][:count]
    while len(images) < count:
        first, second = slices[random.integers(0, len(slices), 2)].astype(np.float32)
        weight = random.uniform(0.3, 0.95)
        image = weight * first + (1 - weight) * second
        if random.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.2))
        else:
            image += random.normal(0, random.uniform(0.5, 6), image.shape)
        images.append(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    made = np.stack([image for image in images if image.std() > 0])
    return made[random.permutation(len(made))]


def timed(job: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result of a job, its wall time and its processor time on all cores divided by their number."""
    wall, processor = time.perf_counter(), time.process_time()
    result = job()
    return result, time.perf_counter() - wall, (time.process_time() - processor) / THREADS


def same(one: TopScores, other: TopScores) -> bool:
    """Return whether two files hold the same lists and pairs."""
    pairs = [(getattr(one.of_rows, name), getattr(other.of_rows, name)) for name in ("scores", "partners")]
    pairs += [(getattr(one.of_columns, name)[:], getattr(other.of_columns, name)[:]) for name in ("scores", "partners")]
    pairs.append((one.pair_values[:], other.pair_values[:]))
    return all(np.array_equal(*pair) for pair in pairs)


def scikit_image_seconds(real: ImagePack, synthetic: ImagePack, folder: Path, pairs: int = 200) -> float:
    """Return the time of a pair by scikit-image from PNG files, on all cores as if they scaled perfectly."""
    paths: list[str] = []
    for side in (real, synthetic):
        paths.append(str(folder / f"{len(paths)}.png"))
        cv2.imwrite(paths[-1], side.images[0])
    return timed(lambda: [ssim_of_files((paths[0], paths[1])) for _ in range(pairs)])[1] / pairs / THREADS


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--real", type=int, default=2195, help="default: %(default)s")
    parser.add_argument("--synthetic", type=int, default=65_850, help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--max-memory-gb", type=float, default=2.0, help="default: %(default)s")
    options = parser.parse_args()
    slices, source = images_of(round(1.3 * options.real))
    slices = slices[np.random.default_rng(1).permutation(len(slices))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = made_images(slices, options.real, options.synthetic)
        for side, images in (("real", slices[: options.real]), ("synthetic", made)):
            write_pack(folder / f"{side}.h5", ImagePack(images, [f"{side}-{n}" for n in range(len(images))]))
        del slices, made
        with open_pack(folder / "real.h5") as real, open_pack(folder / "synthetic.h5") as synthetic:
            print(f"{os.cpu_count()} cores; {source}; {len(real.keys):,} x {len(synthetic.keys):,}")
            print(*measure(real, synthetic, folder, options), sep="\n")


def measure(real: ImagePack, synthetic: ImagePack, folder: Path, options: argparse.Namespace) -> list[str]:
    """Run all ways in turn and return the rows of a table."""
    comparison = SsimComparison(real, synthetic, threads=THREADS)
    random = np.random.default_rng(2)
    labelled = tuple([pack.keys[n] for n in random.integers(0, len(pack.keys), LABELLED)] for pack in (real, synthetic))

    def top(exact: bool) -> TopScores:
        path = folder / f"{exact}.h5"
        settings = SimilarityConfig(top_k=10, exact=exact, max_memory_gb=options.max_memory_gb)
        write_top(
            path, comparison, real.keys, synthetic.keys, "ssim", train_keys=real.keys, labelled=labelled,  # type: ignore[arg-type]
            options=settings, seed=0, threads=THREADS,
        )  # fmt: skip
        found = read_scores(path)
        assert isinstance(found, TopScores)
        return found

    above = partial(find_pairs_above, comparison, COPIES, max_memory_gb=options.max_memory_gb)
    jobs: dict[str, Callable[[], Any]] = {
        "all pairs: top-10, labelled pairs": partial(top, True),
        "estimates: top-10, labelled pairs": partial(top, False),
        f"all pairs: those of {COPIES:g} or more": partial(above, exact=True),
        f"estimates: those of {COPIES:g} or more": above,
    }
    compile_all(real, synthetic)
    wall, processor = (dict.fromkeys(jobs, np.inf) for _ in range(2))
    found: dict[str, Any] = {}
    for _ in range(options.repetitions):
        for job, run in jobs.items():
            found[job], *used = timed(run)
            wall[job], processor[job] = min(wall[job], used[0]), min(processor[job], used[1])
    rows = ["| job | s | s of a core | of all pairs' time | exact scores |", "| --- | --- | --- | --- | --- |"]
    whole, lists, expected, copies = found.values()
    reference = processor[next(iter(jobs))]
    for job, record in zip(jobs, (whole.record, lists.record, expected[3], copies[3]), strict=True):
        part = f"{processor[job] / reference:.0%} | {record.computed / record.pairs:.2%}"
        rows.append(f"| {job} | {wall[job]:.0f} | {processor[job]:.0f} | {part} |")
    usual = scikit_image_seconds(real, synthetic, folder) * len(real.keys) * len(synthetic.keys)
    rows.append(f"| scikit-image per pair, from PNG files (scaled from 200 pairs) | {usual:,.0f} | | | 100% |")
    missed = len(set(zip(*expected[:2], strict=True)) - set(zip(*copies[:2], strict=True)))
    rows.append(f"\nLists equal: {same(whole, lists)}. Copies: {len(expected[0]):,}, of which {missed} missed.")
    return [*rows, str(lists.record), str(copies[3])]


def compile_all(real: ImagePack, synthetic: ImagePack) -> None:
    """Run everything once on some images."""
    few = (ImagePack(pack.images[:1500], pack.keys[:1500]) for pack in (real, synthetic))
    comparison = SsimComparison(*few, threads=THREADS)
    for exact in (False, True):
        find_pairs_above(comparison, COPIES, exact=exact)


if __name__ == "__main__":
    main()
