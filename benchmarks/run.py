"""Measure this library's scores beside what a user would otherwise do: `python -m benchmarks.run`.

Prints ratios, memory and growth, and writes docs/benchmarks.md with a plot. Both sides use the same number of cores.
`--paper` adds the whole SSIM matrix at the paper's size (minutes on two cores), `--quick` does it all on small sizes to
see that it works, `--only top-10` measures one job again. Needs `pip install -e ".[bench]"`. Images are real
ones from DEEPSSIM_REAL_DATA (default: ../shared/data) where that folder is, else of virtual patients; the page says which.
"""

import argparse
import multiprocessing
import multiprocessing.pool
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
OTHERS = "\n## Re-identification\n"  # begins the sections of the page that other benchmarks write
# One thread per core for each side, before any library starts its own.
os.environ |= {name: str(THREADS) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
os.environ["OMP_WAIT_POLICY"] = "passive"  # as in every job: waiting threads must not take the cores from working ones

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks import REAL_DATA, ROOT  # noqa: E402
from benchmarks.jobs import SIZE  # noqa: E402
from benchmarks.measure import Comparison, compare, in_own_process, replace_rows, seconds  # noqa: E402
from benchmarks.page import growth_table, machine, page, paper_sentence, plot, table  # noqa: E402
from benchmarks.roofline import roofline  # noqa: E402
from deepssim.config.choices import Device, MetricName, Precision  # noqa: E402
from deepssim.config.dataset import VirtualPatientsConfig  # noqa: E402
from deepssim.images.packs import ImagePack  # noqa: E402
from deepssim.metrics import METRICS  # noqa: E402
from deepssim.runtime.devices import computes_bfloat16  # noqa: E402
from deepssim.similarity.embedding_scores import EmbeddingComparison, EmbeddingSimilarity  # noqa: E402
from deepssim.similarity.embeddings import Embeddings  # noqa: E402
from deepssim.similarity.fsim import T1, T2, FsimComparison, FsimVariant  # noqa: E402
from deepssim.similarity.scores import ScoreMatrix  # noqa: E402
from deepssim.similarity.tiles import all_scores  # noqa: E402
from deepssim.similarity.topk import top_k  # noqa: E402


def images_of(count: int) -> tuple[np.ndarray, str]:
    """Return `count` images of the paper's size and where they come from."""
    if REAL_DATA.is_dir():
        files = sorted((REAL_DATA / "brain_slices").rglob("*.png"))[:count]
        shape = SIZE[1], SIZE[0]
        images = [np.asarray(Image.open(file).convert("L").resize(shape, Image.Resampling.BILINEAR)) for file in files]
        return np.stack(images), "brain MR slices (Bhuvaji et al. 2020)"
    from deepssim.config.choices import Contrast
    from deepssim.datasets.virtual_patients import make_patient, scan
    from deepssim.images.standardize import quantise

    options = VirtualPatientsConfig()
    scans = [scan(make_patient(n, options, 0), Contrast.T1, 20.0, SIZE, options.noise)[0] for n in range(count)]
    return np.stack([quantise(image, 8) for image in scans]), "virtual patients"


# What a user would otherwise do. Worker functions are at the top, so that processes can find them.


def ssim_of_files(pair: tuple[str, str]) -> float:
    """Load two PNG files, z-score them and call scikit-image, as the reference does."""
    from skimage.metrics import structural_similarity

    real, synthetic = (np.asarray(Image.open(path), dtype=np.float64) for path in pair)
    real, synthetic = ((image - image.mean()) / image.std() for image in (real, synthetic))
    return structural_similarity(real, synthetic, data_range=real.max() - real.min())


def fsim_of_arrays(pair: tuple[np.ndarray, np.ndarray]) -> float:
    """Compute the simplified FSIM of a pair in numpy, features and all."""
    from scipy.ndimage import convolve

    sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
    maps = []
    for image in pair:
        values = image.astype(np.float32)
        differences = np.hypot(*np.gradient(values))
        gradient = np.hypot(*(convolve(values, kernel, mode="mirror") for kernel in (sobel, sobel.T)))
        maps.append((differences / differences.max(), gradient))
    (p, g), (q, h) = maps
    likeness = (2 * p * q + T1) / (p * p + q * q + T1) * (2 * g * h + T2) / (g * g + h * h + T2)
    weight = np.maximum(p, q)
    return float((likeness * weight).sum() / weight.sum())


def plain_cosines(real: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    """Compare one synthetic embedding after the other with all real ones, in float32."""
    scores = np.empty((len(real), len(synthetic)), np.float32)
    for column, embedding in enumerate(synthetic):
        scores[:, column] = real @ embedding
    return scores


def search_pairs(matrix: ScoreMatrix, pairs: list[tuple[str, str]]) -> list[float]:
    """Find each pair's score by searching the lists of keys."""
    return [float(matrix.scores[matrix.real_keys.index(r), matrix.synth_keys.index(s)]) for r, s in pairs]


def embeddings(count: int, features: int, seed: int) -> Embeddings:
    """Draw embeddings of length 1."""
    values = np.random.default_rng(seed).standard_normal((count, features), dtype=np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Embeddings(values, [f"{seed}-{number}" for number in range(count)], "benchmark", "0" * 64)


def comparisons(
    folder: Path, pool: multiprocessing.pool.Pool, images: np.ndarray, scale: float
) -> Iterator[Comparison]:
    """Yield all comparisons; `scale` below 1 makes them smaller."""
    few, many = round(200 * scale), round(500 * scale)
    real, synthetic = (
        ImagePack(part, [str(n) for n in range(len(part))]) for part in (images[:few], images[few : few + many])
    )
    yield from pixel_comparisons(folder, pool, real, synthetic)
    yield from embedding_comparisons(scale)
    yield encoder_comparison(images[: max(4, round(32 * scale))])


ssim_of = partial(METRICS[MetricName.SSIM].compare, threads=THREADS, device=Device.AUTO)  # on a GPU where there is one


def pixel_comparisons(
    folder: Path, pool: multiprocessing.pool.Pool, real: ImagePack, synthetic: ImagePack
) -> Iterator[Comparison]:
    """Yield SSIM and FSIM of all pairs of images."""
    paths = []
    for side, pack in (("real", real), ("synthetic", synthetic)):
        paths.append([str(folder / f"{side}-{key}.png") for key in pack.keys])
        for path, image in zip(paths[-1], pack.images, strict=True):
            Image.fromarray(image).save(path)
    random = np.random.default_rng(0)
    size = f"{len(real.keys)} x {len(synthetic.keys)} images of {SIZE[0]}x{SIZE[1]}"
    total = len(real.keys) * len(synthetic.keys)
    part = min(total, 8000)
    rows, columns = random.integers(0, len(real.keys), part), random.integers(0, len(synthetic.keys), part)
    files = [(paths[0][row], paths[1][column]) for row, column in zip(rows, columns, strict=True)]
    usual = partial(pool.map, ssim_of_files, files, chunksize=50)
    rival = f"PNG + scikit-image per pair, {THREADS} processes"
    yield Comparison(
        f"SSIM, {size}", rival, lambda: all_scores(ssim_of(real, synthetic)), usual,
        part / total, 90,
    )  # fmt: skip

    def from_files() -> np.ndarray:
        packs = (ImagePack(np.stack([np.asarray(Image.open(path)) for path in side]), side) for side in paths)
        return all_scores(ssim_of(*packs))

    yield Comparison(f"the same from the PNG files, each read once, {size}", rival, from_files, usual, part / total, 90)
    part = min(total, 4000)
    arrays = [
        (real.images[row], synthetic.images[column]) for row, column in zip(rows[:part], columns[:part], strict=True)
    ]
    yield Comparison(
        f"FSIM (simplified), {size}", f"the same features per pair in numpy, {THREADS} processes",
        lambda: all_scores(FsimComparison(real, synthetic, threads=THREADS, variant=FsimVariant.SIMPLIFIED)),
        partial(pool.map, fsim_of_arrays, arrays, chunksize=50), part / total, 30,
    )  # fmt: skip


def embedding_comparisons(scale: float) -> Iterator[Comparison]:
    """Yield score matrices, searches and the join with labelled pairs."""
    import faiss
    from scipy.spatial.distance import cdist

    count, other = round(2195 * scale), round(65_850 * scale)
    real, synthetic = embeddings(count, 128, 0), embeddings(other, 128, 1)
    part = max(1, other // 12)
    yield Comparison(
        f"Pearson matrix, {count:,} x {other:,} x 128", 'scipy cdist(metric="correlation")',
        lambda: all_scores(
            EmbeddingComparison(real, synthetic, similarity=EmbeddingSimilarity.PEARSON, threads=THREADS)
        ),
        lambda: cdist(real.values, synthetic.values[:part], metric="correlation"), part / other, 15,
    )  # fmt: skip
    part = max(1, other // 6)
    yield Comparison(
        f"cosine matrix, {count:,} x {other:,} x 128", "a plain float32 loop over columns",
        lambda: all_scores(EmbeddingComparison(real, synthetic, threads=THREADS)),
        lambda: plain_cosines(real.values, synthetic.values[:part]), part / other, 1,
    )  # fmt: skip
    rows, columns = embeddings(count, 256, 2), embeddings(other, 256, 3)
    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(256)
    index.add(rows.values)
    yield Comparison(
        f"top-10 of {other:,} x {count:,} x 256", "faiss-cpu IndexFlatIP",
        lambda: top_k(EmbeddingComparison(rows, columns, threads=THREADS), 10, threads=THREADS, rows=False),
        lambda: index.search(columns.values, 10), 1, 1 / 1.1,
    )  # fmt: skip
    yield join_comparison(scale)


def least_time(scale: float) -> str:
    """Say what the products of embeddings take at least on this machine, from one that stays within the caches."""
    count, other = round(2195 * scale), round(65_850 * scale)
    comparison = EmbeddingComparison(embeddings(600, 1024, 0), embeddings(1024, 1024, 1), threads=THREADS)
    rows, columns = comparison.prepare_rows(slice(None)), comparison.prepare_columns(slice(None))
    fastest = min(seconds(lambda: comparison.compare(rows, columns)) for _ in range(50))
    rate = 2 * 600 * 1024 * 1024 / fastest
    return (
        f"Multiplication alone reaches {rate / 1e9:.0f} GFLOP/s in float32 on this machine, so the products of {count:,} x {other:,} "
        f"embeddings take at least {2 * count * other * 128 / rate:.3g} s (128 values) and "
        f"{2 * count * other * 256 / rate:.3g} s (256 values); the matrix also has to be written."
    )


def join_comparison(scale: float) -> Comparison:
    """Compare looking labelled pairs up by a join with searching for each."""
    count, other, pairs = round(2583 * scale), round(14_223 * scale), round(15_498 * scale)
    random = np.random.default_rng(0)
    real_keys = [f"subject-{n:05d}___training" for n in range(count)]
    synth_keys = [f"subject-{n // 6:05d}___gen-{n % 6}" for n in range(other)]
    scores = random.random((count, other), dtype=np.float32)
    labelled = (
        [real_keys[row] for row in random.integers(0, count, pairs)],
        [synth_keys[column] for column in random.integers(0, other, pairs)],
    )
    part = max(1, pairs // 15)
    searched = list(zip(*(keys[:part] for keys in labelled), strict=True))
    return Comparison(
        f"{pairs:,} labelled pairs on {count:,} x {other:,}", "list.index per pair",
        lambda: ScoreMatrix(real_keys, synth_keys, "", scores).pair_scores(*labelled),
        lambda: search_pairs(ScoreMatrix(real_keys, synth_keys, "", scores), searched), part / pairs, 50,
    )  # fmt: skip


def encoder_comparison(images: np.ndarray) -> Comparison:
    """Compare embedding by ConvNeXt-Base in the precision of the hardware with float32, channels first."""
    from deepssim.config.encoders import EncoderConfig
    from deepssim.encoders.deepssim import DeepSSIM
    from deepssim.encoders.extraction import extract

    torch.manual_seed(0)
    options = EncoderConfig(depths=(3, 3, 27, 3), widths=(128, 256, 512, 1024))
    ours, theirs = (DeepSSIM(options).eval() for _ in range(2))
    pack = ImagePack(images, [str(n) for n in range(len(images))])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = Precision.BFLOAT16 if computes_bfloat16(device) else Precision.FLOAT32
    # The check against float32 is made once per run of a pack, not per image; here it would be half of the work.
    precise = partial(extract, ours, pack, device=device, batch_size=16, precision=precision, check=False)

    @torch.inference_mode()
    def plain() -> None:
        network = theirs.to(device)
        for start in range(0, len(images), 16):
            network(torch.from_numpy(images[start : start + 16, None] / np.float32(255)).to(device)).cpu()

    return Comparison(
        f"ConvNeXt-Base, {len(images)} images of {SIZE[0]}x{SIZE[1]}, {precision.value}", "float32, channels first",
        precise, plain, 1, 2,
    )  # fmt: skip


def growth(scale: float) -> dict[str, list[dict[str, float]]]:
    """Measure time and peak memory at four sizes, each in a process of its own."""
    common = {"threads": THREADS, "max_memory_gb": 1.0}
    found: dict[str, list[dict[str, float]]] = {"SSIM matrix": [], "top-10 of embeddings": []}
    for step in (1, 2, 4, 8):
        size = {"real": round(250 * step * scale), "synthetic": round(1000 * step * scale)}
        found["SSIM matrix"].append(size | in_own_process("dense_ssim", **size, **common))
        size = {"real": round(2500 * step * scale), "synthetic": round(12_500 * step * scale)}
        job = in_own_process("embedding_top_k", **size, features=64, k=10, **common)
        found["top-10 of embeddings"].append(size | job)
    return found


def main() -> None:
    """Parse the command line, measure and write."""
    options = _options()
    scale, repetitions = (0.05, 1) if options.quick else (1.0, options.repetitions)
    torch.set_num_threads(THREADS)
    images, source = images_of(round(700 * scale))
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(THREADS) as pool:
        for comparison in comparisons(Path(folder), pool, images, scale):
            if options.only and options.only not in comparison.job:
                continue
            outcomes.append(compare(comparison, repetitions))
            print(*table(outcomes)[-1:], sep="\n", flush=True)
    if options.only:
        replace_rows(options.out, table(outcomes)[2:], machine())
        return
    found = growth(scale)
    print(*growth_table(found), sep="\n", flush=True)
    paper = None
    if options.paper:
        size = {"real": 2195, "synthetic": 65_850}
        paper = paper_sentence(in_own_process("dense_ssim", **size, threads=THREADS, max_memory_gb=2.0))
        print(paper, flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plot(options.out.with_name("benchmarks.svg"), found)
    command = f"python -m benchmarks.run{' --paper' if options.paper else ''}"
    largest = found["SSIM matrix"][-1]
    limit = f"{least_time(scale)}\n\n{roofline(THREADS, largest['seconds'] / largest['real'] / largest['synthetic'])}"
    text = page(outcomes, found, command=command, repetitions=repetitions, source=source, limit=limit, paper=paper)
    options.out.write_text(text + _other_sections(options.out), encoding="utf-8")
    print(f"written to {options.out}", file=sys.stderr)


def _other_sections(path: Path) -> str:
    """Return the part of an earlier page that other benchmarks have written."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text[text.index(OTHERS) :] if OTHERS in text else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="small sizes, once, to see that it works")
    parser.add_argument("--paper", action="store_true", help="add the SSIM matrix of 2,195 x 65,850 images")
    parser.add_argument(
        "--only", metavar="TEXT", help="measure jobs whose name has this, and keep the page's other rows"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
