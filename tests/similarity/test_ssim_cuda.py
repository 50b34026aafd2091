"""The GPU kernel agrees with the processor's, run by Triton's interpreter where there is no GPU.

In a process of its own: whether Triton compiles or interprets is settled when it is imported.
"""

import subprocess
import sys

import numpy as np
import pytest

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


def difference(device: str, environment: dict[str, str]) -> list[float]:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, device], capture_output=True, text=True, env=environment, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return [float(line) for line in run.stdout.split()]


def test_interpreted():
    import os

    differences = difference("cpu", os.environ | {"TRITON_INTERPRET": "1"})
    assert len(differences) == 3
    assert np.max(differences) < 1e-6


@pytest.mark.gpu
def test_compiled():
    import os

    import torch

    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU")
    assert np.max(difference("cuda", dict(os.environ))) < 1e-6
