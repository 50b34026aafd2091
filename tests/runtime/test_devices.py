"""Precision follows the hardware and the size of the network."""

import ctypes
import resource

import pytest
import torch

from deepssim.config.choices import Precision
from deepssim.config.paper import PAPER_LDM
from deepssim.config.settings import Config
from deepssim.generative.diffusion import build_unet
from deepssim.runtime.devices import computes_bfloat16, count_parameters, keep_freed_memory, training_precision

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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="a parameter of glibc")
def test_memory_of_freed_tensors_is_used_again():
    keep_freed_memory()

    def new_pages():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(40_000_000)  # 160 MB, which glibc would map anew
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    new_pages()
    assert new_pages() < 1000  # of 39,063
