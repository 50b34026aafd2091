"""Precision follows the hardware and the size of the network."""

import ctypes
import resource

import pytest
import torch

from deepssim.config.choices import Device, Precision
from deepssim.config.generative import VaeConfig
from deepssim.config.paper import PAPER_LDM
from deepssim.config.settings import Config
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.diffusion import build_unet
from deepssim.metrics import _has_gpu
from deepssim.runtime.devices import (
    computes_bfloat16,
    count_parameters,
    keep_freed_memory,
    to_channels_last,
    training_precision,
    why_no_kernels,
    with_less_memory,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("weights", [1, 10**9])
def test_what_is_asked_for_is_taken(weights):
    assert training_precision(CPU, Precision.FLOAT32, weights) == "32-true"
    assert training_precision(CPU, Precision.BFLOAT16, weights) == "bf16-mixed"


def test_a_processor_trains_large_networks_only_in_bfloat16():
    with torch.device("meta"):  # sizes without values
        demo, paper = (count_parameters(build_unet(options, 3)) for options in (Config().ldm, PAPER_LDM))
    assert training_precision(CPU, Precision.AUTO, demo) == "32-true"
    expected = "bf16-mixed" if computes_bfloat16(CPU) else "32-true"
    assert training_precision(CPU, Precision.AUTO, paper) == expected


def test_frozen_weights_are_not_trained():
    network = torch.nn.Linear(3, 2)
    network.bias.requires_grad = False
    assert count_parameters(network) == 6


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_weights_of_images_and_volumes_get_the_layout_for_gpus(spatial_dims):
    """`Module.to(memory_format=torch.channels_last)` raises an error for convolutions of volumes."""
    network = build_autoencoder(VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4), spatial_dims)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_channels_last(network)
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[spatial_dims]
    kernels = [value for value in network.parameters() if value.ndim == spatial_dims + 2]
    assert kernels
    assert all(value.is_contiguous(memory_format=layout) for value in kernels)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_less_memory_halves_down_to_one():
    asked = []

    def job(size):
        asked.append(size)
        if size > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return size

    assert with_less_memory(job, 12, "working") == 1
    assert asked == [12, 6, 3, 1]


def test_other_errors_are_not_taken_for_short_memory():
    with pytest.raises(RuntimeError, match="index out of range"):
        with_less_memory(lambda size: (_ for _ in ()).throw(RuntimeError("index out of range")), 4, "working")


@pytest.mark.parametrize(
    ("capability", "compilers", "expected"),
    [((9, 0), {"gcc"}, None), ((7, 5), {"gcc"}, "compute capability 7.5"), ((8, 6), set(), "needs a C compiler")],
)
def test_what_kernels_need_is_asked_first(monkeypatch, capability, compilers, expected):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr("shutil.which", lambda name: name if name in compilers else None)
    found = why_no_kernels()
    assert found is None if expected is None else expected in found


@pytest.mark.parametrize("obstacle", [None, "Triton needs a C compiler"])
def test_ssim_stays_on_the_processor_where_its_kernel_cannot_be_compiled(monkeypatch, caplog, obstacle):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("deepssim.runtime.devices.why_no_kernels", lambda: obstacle)
    monkeypatch.setattr("deepssim.metrics.find_spec", lambda name: name)
    assert _has_gpu(Device.AUTO) is (obstacle is None)
    assert ("SSIM is computed on the processor" in caplog.text) is (obstacle is not None)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="a parameter of glibc")
def test_memory_of_freed_tensors_is_used_again():
    keep_freed_memory()

    def new_pages():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(10_000_000)  # 40 MB, which glibc would map anew each time
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    # Of 9,766; the first times the block may lie elsewhere, until the free space is large enough.
    assert min(new_pages() for _ in range(20)) < 1000
