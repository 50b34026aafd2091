"""Measure what an image costs in every stage and work out 10^4, 10^6 and 10^8 of them: `python -m benchmarks.scaling`.

Costs are processor seconds, which other programs on the machine change little; sizes are those of the paper's brain study
(136x112 pixels, 2,195 real images, its networks). Jobs are then simulated on a cluster: tasks of each stage wait for the
stages before, take the next free slot, and some fail and are repeated. The page is docs/scaling.md.
"""

import argparse
import heapq
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import ROOT
from benchmarks.jobs import SIZE
from benchmarks.measure import in_own_process, run_measured
from deepssim.config.choices import Contrast, Device, MetricName
from deepssim.config.dataset import VirtualPatientsConfig
from deepssim.config.encoders import EncoderConfig
from deepssim.config.evaluation import EvaluationConfig, SimilarityConfig
from deepssim.config.generative import SynthesisConfig
from deepssim.config.paper import PAPER_LDM, PAPER_VAE
from deepssim.datasets.virtual_patients import make_patient, scan
from deepssim.encoders.deepssim import DeepSSIM
from deepssim.encoders.extraction import extract
from deepssim.generative import sampling
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.diffusion import build_unet
from deepssim.generative.latents import Latents
from deepssim.images.augment import misalign_pack
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack, write_pack
from deepssim.images.standardize import quantise
from deepssim.images.tree import write_tree
from deepssim.metrics import METRICS
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.embeddings import Embeddings, write_embeddings
from deepssim.similarity.matrices import write_top
from deepssim.similarity.tiles import score_tiles

REAL = 2195
FEATURES = 256
SIZES = (10**4, 10**6, 10**8)
PER_SHARD = 1000  # images, until there are as many shards as there can be
MOST_SHARDS = 1000
_CONVNEXT_BASE = EncoderConfig(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024))
_STEPS = 50


@dataclass(frozen=True)
class Stage:
    """What a stage costs.

    Attributes:
        seconds: of a processor for each synthetic image.
        disk: bytes that it writes for each.
        memory: bytes that one job holds for each image that it reads.
        fixed: bytes that it holds whatever the number of images, beside its libraries.
        sharded: whether shards divide it into jobs.
        after: stages that it waits for.
        times: how often it runs: aligned and misaligned.
    """

    seconds: float
    disk: float = 0.0
    memory: float = 0.0
    fixed: float = 0.0
    sharded: bool = True
    after: tuple[str, ...] = ()
    times: int = 1


def processor_seconds(job: Callable[[], object]) -> float:
    """Return the processor time of a job, all threads together."""
    before = time.process_time()
    job()
    return time.process_time() - before


def measure(count: int, folder: Path) -> dict[str, Stage]:
    """Run every stage on `count` images (or a few where one takes seconds) and return the costs of one."""
    keys = [synthetic_key(f"r{number % REAL}", number // REAL) for number in range(count)]
    scans = _scans()
    images = ImagePack(scans[np.arange(count) % len(scans)], keys)
    packed = processor_seconds(lambda: write_pack(folder / "synthetic.h5", images)) / count
    real = ImagePack(images.images[:200], [real_key(f"r{number}") for number in range(200)])
    tree = ImagePack(images.images[:200], keys[:200])
    exported = processor_seconds(lambda: write_tree(folder / "tree", real, tree)) / 400
    png = sum(path.stat().st_size for path in (folder / "tree").rglob("*.png")) / 400
    misaligned = processor_seconds(lambda: misalign_pack(tree, EvaluationConfig().misalignment, 0)) / 200
    ssim = _ssim_of_a_pair(images, real)
    scores, top_bytes = _scores(count, keys, folder)
    joined = _joined(count)
    pack_bytes = (folder / "synthetic.h5").stat().st_size / count
    pixels = float(np.prod(SIZE))
    return {
        "generate": Stage(_generated() + packed, pack_bytes, pixels),
        "export_images": Stage(exported, png, 0.0, sharded=False, after=("generate",)),
        "misalign": Stage(misaligned + packed, pack_bytes, 2 * pixels, after=("generate",)),
        "score_images": Stage(ssim * REAL, top_bytes, pixels, after=("generate", "misalign"), times=2),
        "train_deepssim": Stage(0.0, 0.0, 0.0, sharded=False, after=("score_images",)),
        "embed": Stage(_embedded(images), FEATURES * 4, 0.0, after=("train_deepssim", "misalign"), times=2),
        "score_embeddings": Stage(scores, top_bytes, FEATURES * 8, after=("embed",), times=2),
        "gather_matrix": Stage(
            *(joined["gather"].seconds, top_bytes, joined["gather"].memory, joined["gather"].fixed),
            sharded=False, after=("score_embeddings",), times=4,
        ),
        "sample_pairs": replace(joined["sample"], after=("gather_matrix",)),
        "evaluate": replace(joined["evaluate"], after=("gather_matrix",), times=4),
    }  # fmt: skip


def _scans() -> np.ndarray:
    """Return images that compress like scans: virtual patients in the paper's size, uint8."""
    population = VirtualPatientsConfig()
    return np.stack(
        [
            quantise(scan(make_patient(number, population, 0), Contrast.T1, z_mm, SIZE, population.noise)[0], 8)
            for number in range(16)
            for z_mm in population.slices_mm
        ]
    )


def _generated() -> float:
    """Time of one image of the paper's model; the time of a sampling step does not depend on the step."""
    records = [f"r{number}" for number in range(2)]
    values = np.zeros((2, PAPER_VAE.latent_channels, SIZE[0] // 4, SIZE[1] // 4), np.float32)
    latents = Latents(values, [real_key(record) for record in records], 1.0)
    networks = build_unet(PAPER_LDM, PAPER_VAE.latent_channels), build_autoencoder(PAPER_VAE)

    def draw(steps: int) -> float:
        options = SynthesisConfig(batch_size=2, sampler_steps=steps)
        return processor_seconds(
            lambda: sampling.generate(
                [synthetic_key(record, 0) for record in records], *networks, latents=latents, ldm=PAPER_LDM,
                options=options, seed=0, device=torch.device("cpu"), bit_depth=8,
            )
        ) / 2  # fmt: skip

    draw(4)
    few, more = draw(4), draw(8)
    step = (more - few) / 4
    return few + (_STEPS - 4) * step


def _ssim_of_a_pair(images: ImagePack, real: ImagePack) -> float:
    def run() -> None:
        for _ in score_tiles(METRICS[MetricName.SSIM].compare(real, images, 1, Device.CPU), max_memory_gb=1):
            pass

    run()  # compiles
    return processor_seconds(run) / (len(real.keys) * len(images.keys))


def _embedded(images: ImagePack) -> float:
    network = DeepSSIM(_CONVNEXT_BASE)
    few = ImagePack(images.images[:8], images.keys[:8])
    run = lambda: extract(network, few, device=torch.device("cpu"), batch_size=8)  # noqa: E731
    run()
    return processor_seconds(run) / 8


def _scores(count: int, keys: list[str], folder: Path) -> tuple[float, float]:
    """Time and bytes of the top-k lists of one synthetic image against all real ones."""
    values = np.random.default_rng(0).standard_normal((REAL + count, FEATURES), dtype=np.float32)
    real = Embeddings(values[:REAL], [real_key(f"r{number}") for number in range(REAL)], "", "")
    synthetic = Embeddings(values[REAL:], keys, "", "")
    write_embeddings(folder / "embeddings.h5", synthetic)

    def run() -> None:
        write_top(
            folder / "top.h5", EmbeddingComparison(real, synthetic, threads=1), real.keys, keys, "deepssim",
            train_keys=real.keys, labelled=([], []), options=SimilarityConfig(), seed=0,
        )  # fmt: skip

    return processor_seconds(run) / count, (folder / "top.h5").stat().st_size / count


def _joined(count: int) -> dict[str, Stage]:
    """Measure the steps after scoring that read the lists of all images, at 100 and 400 times the count.

    Memory is the peak above that of writing the lists, in a process of its own; of the later two it includes joining the lists.
    """
    found = {}
    sizes = 100 * count, 400 * count
    for name in ("gather", "sample", "evaluate"):
        used = []
        for images in sizes:
            job = in_own_process(
                "joined_lists", images=images, real=100, shards=20, steps=[] if name == "gather" else [name]
            )
            used.append((job[f"{name}_s"], 1e9 * (job[f"{name}_gb"] - job["write_gb"])))
        growth = max(0.0, (used[1][1] - used[0][1]) / (sizes[1] - sizes[0]))
        found[name] = Stage(used[1][0] / sizes[1], 0.0, growth, max(used[0][1], used[1][1]), sharded=False)
    return found


def simulate(
    stages: dict[str, Stage], images: int, slots: int, *, startup: float = 60.0, failing: float = 0.01, seed: int = 0
) -> tuple[int, float]:
    """Return how many jobs it takes and after how many hours the last one ends.

    Args:
        stages: costs by stage.
        images: synthetic images.
        slots: jobs that run at a time, each with one processor.
        startup: seconds in the queue and of imports, for each job.
        failing: share of jobs that fail half-way and are repeated.
        seed: of the failures.
    """
    chosen, jobs = random.Random(seed), 0
    shards = min(MOST_SHARDS, max(1, images // PER_SHARD))
    ready: dict[str, float] = {}
    free = [0.0] * slots
    for name, stage in stages.items():
        begin = max((ready[before] for before in stage.after), default=0.0)
        tasks = (shards if stage.sharded else 1) * stage.times
        length = stage.seconds * images * stage.times / tasks
        ends = []
        for _ in range(tasks):
            attempts = 1 + (chosen.random() < failing)
            start = max(begin, heapq.heappop(free))
            end = start + startup * attempts + length * (1 + 0.5 * (attempts - 1))
            heapq.heappush(free, end)
            ends.append(end)
            jobs += attempts
        ready[name] = max(ends)
    return jobs, max(ready.values()) / 3600


def dry_run(shards: int) -> tuple[int, float, float]:
    """Plan the default config with so many shards; return jobs, processor seconds and peak memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "shards.json").write_text(json.dumps({"shards": shards}))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", folder]
        command += ["--cores", "1", "--dry-run", "--configfile", str(Path(folder, "shards.json")), "--quiet", "rules"]
        with Path(folder, "printed.txt").open("w+", encoding="utf-8") as file:
            used = run_measured(command, file)
            file.seek(0)
            output = file.read()
    if used.status:
        raise SystemExit(output[-3000:])
    total = next(line for line in output.splitlines() if line.startswith("total"))
    return int(total.split()[1]), used.processor_seconds, used.peak_gb


def tables(stages: dict[str, Stage], slots: Sequence[int]) -> str:
    """Return the page's tables."""
    lines = ["| stage | processor s per image | bytes per image |", "| --- | --- | --- |"]
    lines += [f"| {name} | {stage.seconds:.3g} | {stage.disk:.3g} |" for name, stage in stages.items() if stage.seconds]
    lines += ["", "| stage | " + " | ".join(f"{size:,} images: h, GB of disk, GB of memory" for size in SIZES) + " |"]
    lines += ["| --- |" + " --- |" * len(SIZES)]
    for name, stage in stages.items():
        cells = []
        for size in SIZES:
            part = 1 if not stage.sharded else min(MOST_SHARDS, max(1, size // PER_SHARD))
            hours, disk = stage.seconds * size * stage.times / 3600, stage.disk * size * stage.times / 1e9
            cells.append(f"{hours:.3g}, {disk:.3g}, {(stage.memory * size / part + stage.fixed) / 1e9:.3g}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| images | " + " | ".join(f"{count:,} slots: jobs, hours" for count in slots) + " |"]
    lines += ["| --- |" + " --- |" * len(slots)]
    for size in SIZES:
        cells = ["{:,}, {:.3g}".format(*simulate(stages, size, count)) for count in slots]
        lines.append(f"| {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, plan and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="images that cheap stages are measured on")
    parser.add_argument("--shards", type=int, default=1000, help="of the planned run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        stages = measure(options.count, Path(folder))
    print(tables(stages, (16, 256)))
    jobs, seconds, memory = dry_run(options.shards)
    print(f"\nPlan of {options.shards:,} shards: {jobs:,} jobs, {seconds:.1f} processor seconds, {memory:.2f} GB")


if __name__ == "__main__":
    main()
