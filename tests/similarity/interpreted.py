"""A pytest plugin: the tests of the SSIM engine with the GPU's kernel, which Triton's interpreter runs on the processor."""

import numpy as np
import torch

from deepssim.images.packs import ImagePack
from deepssim.similarity.ssim import SsimComparison
from deepssim.similarity.ssim_cuda import SsimCudaComparison

SsimCudaComparison.device = torch.device("cpu")
compared = 0  # by the kernel


def engine(real: ImagePack, synthetic: ImagePack, **options) -> SsimComparison:
    """Choose as `metrics` does where there is a GPU."""
    global compared
    if not real.images.dtype == synthetic.images.dtype == np.uint8:
        return SsimComparison(real, synthetic, **options)
    compared += 1
    return SsimCudaComparison(real, synthetic, **options)


def pytest_collection_finish(session):
    for module in {item.module for item in session.items}:
        module.SsimComparison = engine


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"compared by the kernel: {compared}")
