"""Parts of benchmarks.gpu that measure one computation: generators of rows, each for a process of its own.

Not here: whole programs (gpu_runs.py).
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks import REAL_DATA, ROOT
from benchmarks.gpu import Row, Setting
from deepssim.images.packs import ImagePack
from deepssim.runtime.threads import available_threads

SIZE = (112, 136)  # height and width of the paper's brain slices
PAPER = (2195, 65_850)  # its real and synthetic images
EPILOGUE_NS = (
    6.0  # per pair of 136x112 on an H100: 13,780 windows, about 20 float32 operations each, at its arithmetic peak
)
KIT_IMAGES = Path(os.environ.get("DEEPSSIM_GPU_KIT", ROOT / "gpu-kit"), "images.npz")
_CONVNEXT_IMAGES = 4096


def real_slices(count: int) -> tuple[np.ndarray, str]:
    """Return uint8 (N, 112, 136) slices of patients from the kit or the folder of real images, else of virtual patients."""
    from benchmarks.run import images_of

    if KIT_IMAGES.exists():
        with np.load(KIT_IMAGES) as kit:
            return kit["images"][:count], "real slices of the kit"
    if REAL_DATA.is_dir():
        images, source = images_of(count)
        return np.ascontiguousarray(images.transpose(0, 2, 1)), source
    images, source = images_of(min(count, 24))
    return np.ascontiguousarray(images.transpose(0, 2, 1)), source


def _pack(images: np.ndarray) -> ImagePack:
    return ImagePack(images, [str(number) for number in range(len(images))])


def _seconds(job: Callable[[], object]) -> float:
    """Return the time of a job, to the end of what it started on the GPU."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    job()
    wait()
    return time.perf_counter() - start


def ssim_kernel(setting: Setting) -> Iterator[Row]:
    """(b) SSIM on the GPU: compiles, agrees with scikit-image on real slices, and takes so long at the paper's size."""
    from deepssim.config.choices import Device, MetricName
    from deepssim.metrics import METRICS
    from deepssim.similarity.tiles import all_scores

    def comparison(real: ImagePack, synthetic: ImagePack):  # type: ignore[no-untyped-def]
        return METRICS[MetricName.SSIM].compare(real, synthetic, available_threads(), Device(setting.device))

    images, source = real_slices(24)
    if setting.tiny:
        images = np.ascontiguousarray(images[:6, ::4, ::4])
    pack = _pack(images)
    part = pack.select(pack.keys[: len(images) // 2])
    chosen = type(comparison(part, pack)).__name__
    expected_class = "SsimCudaComparison" if setting.device == "cuda" else "SsimComparison"
    yield Row(f"engine is {chosen}", float(chosen == expected_class), "yes", 1)
    found: list[np.ndarray] = []
    first = _seconds(lambda: found.append(all_scores(comparison(part, pack))))
    yield Row("first call, compilation included", first, "s")
    yield Row(f"largest difference from scikit-image, {source}", _difference(part, pack, found[0]), "", most=1e-6)
    yield from _paper_matrix(setting, images, comparison)


def _difference(real: ImagePack, synthetic: ImagePack, scores: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    from deepssim.images.standardize import zscore

    rows, columns = zscore(real.images, real.keys), zscore(synthetic.images, synthetic.keys)
    expected = [[structural_similarity(a, b, data_range=np.ptp(a)) for b in columns] for a in rows]
    return float(np.abs(scores - np.array(expected)).max())


def _paper_matrix(setting: Setting, images: np.ndarray, comparison: Callable) -> Iterator[Row]:
    """Time the kernel alone on one tile, then the whole matrix, from packs in memory to scores in memory."""
    from deepssim.similarity.tiles import all_scores

    shape = (20, 150) if setting.tiny else PAPER
    random = np.random.default_rng(0)
    # Real slices, shifted in grey level, so that no two are equal and none is constant.
    real, synthetic = (
        _pack(images[np.arange(count) % len(images)] ^ random.integers(0, 16, (count, 1, 1), dtype=np.uint8))
        for count in shape
    )
    whole = comparison(real, synthetic)
    rows, columns = whole.prepare_rows(slice(None)), whole.prepare_columns(slice(0, 2048))
    whole.compare(rows, columns)
    tile = min(_seconds(lambda: whole.compare(rows, columns)) for _ in range(3))
    each = 1e9 * tile / (len(rows.pixels) * len(columns.pixels))
    yield Row("one tile of 2,048 columns, features uploaded", each, "ns per pair", note="kernel and download of scores")
    if not setting.tiny:
        yield Row(
            "fraction of the arithmetic limit", EPILOGUE_NS / each, "", note=f"{EPILOGUE_NS:g} ns per pair, estimated"
        )
    memory = 1.0 if setting.tiny else 24.0
    took = _seconds(lambda: all_scores(comparison(real, synthetic), max_memory_gb=memory))
    moved = (
        sum(shape) * (real.images[0].size * 13) + 4 * shape[0] * shape[1]
    )  # pixels, three features of four bytes, scores
    yield Row(
        f"SSIM matrix of {shape[0]:,} x {shape[1]:,}", took, "s", most=None if setting.tiny else 60.0, note="aim: 10 s"
    )
    yield Row("features read once and scores written", moved / took / 1e9, "GB/s")


def top_ten(setting: Setting) -> Iterator[Row]:
    """(c) The ten nearest real images of every synthetic one by cosine and Pearson, from arrays in main memory and back."""
    from deepssim.similarity.embedding_scores import EmbeddingComparison, EmbeddingSimilarity
    from deepssim.similarity.embeddings import Embeddings
    from deepssim.similarity.topk import top_k

    shape = (50, 300) if setting.tiny else PAPER
    random = np.random.default_rng(0)
    values = [random.normal(size=(count, 256)).astype(np.float32) for count in shape]
    both = [Embeddings(part, [str(n) for n in range(len(part))], "random", "0") for part in values]
    threads = available_threads()
    for similarity in EmbeddingSimilarity:
        comparison = EmbeddingComparison(*both, similarity=similarity, threads=threads)
        best = top_k(comparison, 10, threads=threads, rows=False, max_memory_gb=8.0)[1]
        assert best is not None
        took = min(
            _seconds(partial(top_k, comparison, 10, threads=threads, rows=False, max_memory_gb=8.0)) for _ in range(3)
        )
        size = f"{shape[0]:,} x {shape[1]:,}"
        yield Row(
            f"top-10 by {similarity.value}, {size}, this library",
            1e3 * took,
            "ms",
            note=f"processor, {threads} threads",
        )
        plain: list[torch.Tensor] = []

        def on_device(similarity: EmbeddingSimilarity = similarity, plain: list[torch.Tensor] = plain) -> None:
            plain[:] = _plain_top(values, similarity is EmbeddingSimilarity.PEARSON, setting.device)

        on_device()
        took = min(_seconds(on_device) for _ in range(3))
        most = None if setting.tiny or setting.device == "cpu" else 50.0
        yield Row(
            f"top-10 by {similarity.value}, {size}, torch with transfer",
            1e3 * took,
            "ms",
            most=most,
            note=setting.device,
        )
        agreement = float((np.sort(plain[1].numpy()) == np.sort(best.partners)).mean())
        yield Row("same partners as this library's", agreement, "fraction", least=0.999)


def _plain_top(values: list[np.ndarray], centred: bool, device: str) -> list[torch.Tensor]:
    """Return scores and partners of the ten best rows of each column, computed with torch in float32."""
    sides = [torch.from_numpy(part).to(device) for part in values]
    if centred:
        sides = [part - part.mean(dim=1, keepdim=True) for part in sides]
    real, synthetic = (torch.nn.functional.normalize(part) for part in sides)
    parts = [torch.topk(block @ real.T, 10, dim=1) for block in synthetic.split(16_384)]
    return [torch.cat([part[number] for part in parts]).cpu() for number in (0, 1)]


def embeddings(setting: Setting) -> Iterator[Row]:
    """(d) Embeddings of the paper's encoder, ConvNeXt-Base, untrained, in both precisions, and of two cores."""
    from deepssim.config.choices import Precision
    from deepssim.config.encoders import EncoderConfig
    from deepssim.config.paper import PAPER_ENCODER
    from deepssim.encoders.deepssim import DeepSSIM
    from deepssim.encoders.extraction import extract

    torch.manual_seed(0)
    tiny = EncoderConfig(patch_size=4, widths=(8, 8, 16, 16), canonicalize=False, ssim_features=False)
    network = DeepSSIM(tiny if setting.tiny else PAPER_ENCODER).eval()
    images, _ = real_slices(64)
    rates = {}
    runs = [
        ("cpu", Precision.FLOAT32, 4 if setting.tiny else 32),
        (setting.device, Precision.FLOAT32, _CONVNEXT_IMAGES),
    ]
    for device, precision, wanted in [*runs, (setting.device, Precision.BFLOAT16, _CONVNEXT_IMAGES)]:
        count = min(wanted, 16) if setting.tiny else wanted
        pack = _pack(images[np.arange(count) % len(images)])
        torch.set_num_threads(2 if device == "cpu" else available_threads())
        few = pack.select(pack.keys[: min(256, count)])

        def run(pack: ImagePack, device: str = device, precision: Precision = precision) -> None:
            extract(network, pack, device=torch.device(device), batch_size=256, precision=precision, check=False)

        run(few)
        rate = count / _seconds(partial(run, pack))
        rates[device, precision] = rate
        yield Row(
            f"images of {SIZE[1]}x{SIZE[0]} in {precision.value} on {device}", rate, "per s", note=f"{count} images"
        )
    best = max(rates[setting.device, precision] for precision in (Precision.FLOAT32, Precision.BFLOAT16))
    least = None if setting.tiny or setting.device == "cpu" else 20.0
    yield Row("times faster than two cores", best / rates["cpu", Precision.FLOAT32], "", least=least)


def generative(setting: Setting) -> Iterator[Row]:
    """(e) Steps of training and images of generation with the networks of brain.yaml, beside the plain way."""
    from dataclasses import replace

    from benchmarks.generative import PAPER as PAPER_SIZE
    from benchmarks.generative import QUICK, Models
    from benchmarks.gpu_training import PEAK_TFLOPS, step_flops, vae_step
    from deepssim.config.choices import Sampler

    device = torch.device(setting.device)
    size = QUICK if setting.tiny else replace(PAPER_SIZE, image=SIZE, records=64, steps=20, per_record=1)
    models = Models(size, device)
    step = models.stepper()
    step()
    ours = size.steps / min(_seconds(step) for _ in range(2))
    yield Row(f"LDM training, batches of {size.ldm.batch_size}, this library", ours, "steps per s")
    reached = ours * step_flops(step) / size.steps / 1e12
    yield Row("its arithmetic", reached, "TFLOP/s")
    if setting.device == "cuda":
        yield Row(
            "fraction of an H100's bfloat16 peak", reached / PEAK_TFLOPS, "", note=f"{PEAK_TFLOPS:g} TFLOP/s dense"
        )
    models.train_plainly()
    plain = size.steps / _seconds(models.train_plainly)
    yield Row("LDM training, VAE at every step, float32", plain, "steps per s")
    yield Row("times faster than the plain way", ours / plain, "", least=None if setting.tiny else 1.0)
    train = vae_step(size, device)
    train()
    yield Row(f"VAE training, batches of {size.vae.batch_size}", size.steps / _seconds(train), "steps per s")
    del step, train
    steps = 4 if setting.tiny else 50
    for name, records, at_a_time in (("batches of 32", min(32, size.records), 32), ("one at a time", 2, 1)):
        some = Models(replace(size, records=records), device)
        some.generator(Sampler.DDIM, 4, at_a_time, min(at_a_time, records))()
        draw = some.generator(Sampler.DDIM, steps, at_a_time, min(at_a_time, records))
        rate = records * size.per_record / _seconds(draw)
        yield Row(f"generation, DDIM {steps}, {name}", rate, "images per s")
