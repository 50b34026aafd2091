"""The GPU kernel agrees with the processor's, run by Triton's interpreter where there is no GPU, and compiles for one.

In a process of its own: whether Triton compiles or interprets is settled when it is imported.
"""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

pytest.importorskip("triton", reason="Triton is not installed; it comes with the PyTorch that can use a GPU")

SCRIPT = """
import sys
import numpy as np
import torch
from deepssim.images.packs import ImagePack
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.ssim_cuda import SsimCudaComparison
from deepssim.similarity.tiles import all_scores

if sys.argv[1] == "cpu":
    SsimCudaComparison.device = torch.device("cpu")
random = np.random.default_rng(0)
for shape, symmetric in (((12, 9), False), ((7, 7), True), ((9, 31), True)):
    real, synthetic = (random.integers(0, 256, (count, *shape), dtype=np.uint8) for count in (5, 70))
    synthetic[:, :4] = 0  # black background
    synthetic[3:40] //= 3  # another range than that of real images
    real[2, :, 3:] = 255
    packs = [ImagePack(images, [str(n) for n in range(len(images))]) for images in (real, synthetic)]
    expected, found = (
        all_scores(kind(*packs, symmetric=symmetric)) for kind in (SsimComparison, SsimCudaComparison)
    )
    print(np.abs(found - expected).max())
"""

# The arguments that the kernel gets for images of 9x9 pixels, as if they were the last of a tile of 2^25 images: their values
# lie beyond the reach of 32-bit offsets. Only the pages that are touched take memory.
FAR = """
import numpy as np
import torch
from deepssim.similarity import ssim_cuda
from deepssim.images.packs import ImagePack
from deepssim.similarity.ssim import SsimComparison, kernel_constants

images = np.random.default_rng(0).integers(0, 256, (64, 9, 9), dtype=np.uint8)
pack = ImagePack(images, [str(n) for n in range(64)])
ssim_cuda.SsimCudaComparison.device = torch.device("cpu")
near = ssim_cuda.SsimCudaComparison(pack, pack)
features = near.prepare_rows(slice(None))
tensors, far = near._upload("rows", features, 1), []
for tensor in tensors:
    wide = torch.from_numpy(np.zeros((len(tensor), 2**25), tensor.numpy().dtype))  # torch.zeros touches every page
    wide[:, :64] = tensor
    far.append(wide)
assert far[0].numel() > 2**31
scores = torch.empty(64, 64)
columns = near._upload("columns", features, 0)
ssim_cuda._all_pairs[(1, 1)](
    *far, *columns, scores, 64, 64, 2**25, columns[0].shape[1], 9, 9, *kernel_constants(),
    WINDOW=7, TAPS=64, CENTRE=128, BLOCK=64,
)
expected = SsimComparison(pack, pack)
print(np.abs(scores.numpy() - expected.compare(features, features)).max())
"""

# Every second allocation of scores of more than 6 pairs fails, as on a GPU whose memory is nearly full.
MEMORY = """
import logging
import numpy as np
import torch
from deepssim.images.packs import ImagePack
from deepssim.similarity import ssim_cuda
from deepssim.similarity.ssim import SsimComparison

logging.basicConfig(format="%(message)s")
ssim_cuda.SsimCudaComparison.device = torch.device("cpu")
images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
pack = ImagePack(images, [str(n) for n in range(12)])
real, synthetic = pack.select(pack.keys[:5]), pack
expected = SsimComparison(real, synthetic)
rows, columns = expected.prepare_rows(slice(None)), expected.prepare_columns(slice(None))
allocate, limit = torch.empty, 6

def scarce(shape, *arguments, **options):
    if np.prod(shape) > limit:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    return allocate(shape, *arguments, **options)

torch.empty = scarce
found = ssim_cuda.SsimCudaComparison(real, synthetic)
print(np.abs(found.compare(rows, columns) - expected.compare(rows, columns)).max())
limit = 0
try:
    found.compare(rows, columns)
except torch.OutOfMemoryError:
    print(0.0)
"""


def run(script: str, *arguments: str, interpret: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"TRITON_INTERPRET": "1"} if interpret else {})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def numbers(done: subprocess.CompletedProcess[str]) -> list[float]:
    return [float(line) for line in done.stdout.split()]


def test_interpreted():
    differences = numbers(run(SCRIPT, "cpu"))
    assert len(differences) == 3
    assert np.max(differences) < 1e-6


@pytest.mark.gpu
def test_compiled():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    assert np.max(numbers(run(SCRIPT, "cuda", interpret=False))) < 1e-6


def test_tests_of_the_engine_pass_with_the_kernel():
    """All of them but the largest images, for which the interpreter takes minutes."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.similarity.interpreted", "-p", "no:cacheprovider",
         "tests/similarity/test_ssim.py", "-k", "not real_images and not shape3"],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "1"}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.findall(r"compared by the kernel: (\d+)", done.stdout)[0]) > 10


def test_offsets_beyond_32_bits():
    assert numbers(run(FAR))[0] < 1e-6


def test_scarce_memory_halves_the_batch():
    done = run(MEMORY)
    difference, refused = numbers(done)
    assert difference < 1e-6
    assert refused == 0
    assert "out of GPU memory for SSIM of 5 x 12 images; halving the batch" in done.stderr


@pytest.mark.parametrize("capability", [80, 90])
def test_the_kernel_compiles_without_spilling_registers(capability):
    """With the assembler that comes with Triton; no GPU is needed."""
    ssim_cuda = pytest.importorskip("deepssim.similarity.ssim_cuda")
    from benchmarks.gpu_kernel import compile_kernel

    compiled = compile_kernel(capability)
    assert compiled["spilled_bytes"] == 0
    assert 0 < compiled["registers"] * compiled["threads"] <= 65_536  # registers of a multiprocessor
    assert compiled["shared_bytes"] <= 48 * 1024  # what needs no opt-in
    assert compiled["threads"] == 32 * ssim_cuda._WARPS
