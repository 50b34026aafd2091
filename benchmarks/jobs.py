"""Jobs whose peak memory is measured, each in a process of its own: `python jobs.py NAME ARGUMENTS` prints one JSON line."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from deepssim.config.choices import Device, MetricName
from deepssim.config.evaluation import PairsConfig, SimilarityConfig
from deepssim.evaluation.classification import copy_rates
from deepssim.ground_truth.labels import SSIM_THRESHOLDS
from deepssim.ground_truth.pairs import sample_pairs
from deepssim.images.packs import open_pack
from deepssim.metrics import METRICS
from deepssim.runtime.devices import peak_memory_gb
from deepssim.runtime.hdf5 import write_keys
from deepssim.similarity import gathering, top_scores
from deepssim.similarity.embedding_scores import EmbeddingComparison
from deepssim.similarity.embeddings import Embeddings
from deepssim.similarity.matrices import Shard, read_scores, write_dense, write_top
from deepssim.similarity.top_search import find_pairs_above
from deepssim.similarity.topk import top_k

SIZE = (136, 112)  # of the brain slices of arXiv:2509.16582


def write_noise_pack(path: Path, count: int, seed: int) -> None:
    """Write a pack of smooth noise on black background, a part at a time."""
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (count, *SIZE), np.uint8, chunks=(1, *SIZE), compression="lzf")
        for start in range(0, count, 512):
            part = min(512, count - start)
            coarse = random.integers(0, 256, (part, SIZE[0] // 8, SIZE[1] // 8), dtype=np.uint8)
            images[start : start + part] = coarse.repeat(8, axis=1).repeat(8, axis=2)
        images_of_pack = [f"{seed}-{number}" for number in range(count)]
        write_keys(file, "keys", images_of_pack)


def dense_ssim(folder: Path, real: int, synthetic: int, threads: int, max_memory_gb: float) -> dict[str, float]:
    """Write the whole SSIM matrix of two packs."""
    for name, count, seed in (("real", real, 0), ("synthetic", synthetic, 1)):
        write_noise_pack(folder / f"{name}.h5", count, seed)
    start = time.perf_counter()
    with open_pack(folder / "real.h5") as rows, open_pack(folder / "synthetic.h5") as columns:
        comparison = METRICS[MetricName.SSIM].compare(rows, columns, threads, Device.AUTO)
        write_dense(folder / "scores.h5", comparison, rows.keys, columns.keys, "ssim", max_memory_gb=max_memory_gb)
    return {"seconds": time.perf_counter() - start, "output_gb": (folder / "scores.h5").stat().st_size / 1e9}


def screened_ssim(folder: Path, real: int, synthetic: int, threads: int, max_memory_gb: float) -> dict[str, float]:
    """Write the best partners of two packs, by estimates and exact SSIM of some pairs."""
    for name, count, seed in (("real", real, 0), ("synthetic", synthetic, 1)):
        write_noise_pack(folder / f"{name}.h5", count, seed)
    options = SimilarityConfig(top_k=3, max_memory_gb=max_memory_gb)
    with open_pack(folder / "real.h5") as rows, open_pack(folder / "synthetic.h5") as columns:
        comparison = METRICS[MetricName.SSIM].compare(rows, columns, threads, Device.CPU)
        copies = find_pairs_above(comparison, SSIM_THRESHOLDS.high, max_memory_gb=max_memory_gb)
        write_top(
            folder / "top.h5", comparison, rows.keys, columns.keys, "ssim", train_keys=rows.keys, labelled=([], []),
            options=options, seed=0, threads=threads,
        )  # fmt: skip
    return {"computed": copies[3].computed / copies[3].pairs}


def embedding_top_k(
    folder: Path, real: int, synthetic: int, features: int, k: int, threads: int, max_memory_gb: float
) -> dict[str, float]:
    """Find the best partners of all rows and columns."""
    random = np.random.default_rng(0)
    sides = [
        Embeddings(random.standard_normal((count, features), dtype=np.float32), [str(n) for n in range(count)], "", "")
        for count in (real, synthetic)
    ]
    start = time.perf_counter()
    top_k(EmbeddingComparison(*sides, threads=threads), k, max_memory_gb=max_memory_gb, threads=threads)
    return {"seconds": time.perf_counter() - start, "output_gb": (real + synthetic) * k * 12 / 1e9}


def joined_lists(
    folder: Path,
    images: int,
    real: int,
    shards: int,
    block: int | None = None,
    steps: Sequence[str] = ("sample", "evaluate"),
) -> dict[str, float]:
    """Join the top-k lists of shards, sample pairs by them and count copies; returns gigabytes at the peak after each.

    Args:
        folder: for the files.
        images: synthetic images.
        real: real images, two of each subject.
        shards: files that the lists come in.
        block: pairs that are processed together; the library's own number unless given.
        steps: what follows after the lists were written and joined.
    """
    if block:
        gathering._BLOCK = top_scores._BLOCK = block
    keys, used = [f"r{number}___training" for number in range(real)], dict[str, float]()
    subjects = {key: f"s{number // 2}" for number, key in enumerate(keys)}
    paths, count = [folder / f"{number}.h5" for number in range(shards)], images // shards

    random = np.random.default_rng(0)
    values = random.standard_normal((real, 16), dtype=np.float32)

    def write() -> None:
        for number, path in enumerate(paths):
            synthetic = [
                f"r{place % real}___gen-{place // real}" for place in range(number * count, (number + 1) * count)
            ]
            noise = random.standard_normal((count, 16), dtype=np.float32)
            noise[::50] = values[np.arange(len(noise[::50])) % real] + 0.1 * noise[::50]  # copies
            sides = Embeddings(values, keys, "", ""), Embeddings(noise, synthetic, "", "")
            write_top(
                path, EmbeddingComparison(*sides, threads=1), keys, synthetic, "ssim", train_keys=keys,
                labelled=([], []), options=SimilarityConfig(), seed=0, shard=Shard(number, shards),
            )  # fmt: skip

    known = {
        "write": write,
        "gather": lambda: gathering.gather(folder / "all.h5", paths, "ssim"),
        "sample": lambda: sample_pairs(
            read_scores(folder / "all.h5"), keys, list(subjects.values()), PairsConfig(), seed=0
        ),
        "evaluate": lambda: copy_rates(read_scores(folder / "all.h5"), keys, SSIM_THRESHOLDS, subjects),
    }
    for name in ("write", "gather", *steps):
        start = time.process_time()
        known[name]()
        used |= {f"{name}_gb": peak_memory_gb(torch.device("cpu")), f"{name}_s": time.process_time() - start}
    return used


JOBS: dict[str, Callable[..., dict[str, float]]] = {
    "dense_ssim": dense_ssim,
    "embedding_top_k": embedding_top_k,
    "joined_lists": joined_lists,
    "screened_ssim": screened_ssim,
}


def main() -> None:
    """Run one job and print what it took."""
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        figures = JOBS[name](Path(folder), **arguments)
    print(json.dumps(figures | {"peak_gb": peak_memory_gb(torch.device("cpu"))}))


if __name__ == "__main__":
    main()
