"""Threads of a training follow from the size of its network."""

from math import prod

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deepssim.config.encoders import DarConfig, EncoderConfig
from deepssim.config.generative import LdmConfig, VaeConfig
from deepssim.config.settings import load_config
from deepssim.encoders.backbones import build_backbone
from deepssim.encoders.dar import Dar
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.diffusion import build_unet
from deepssim.runtime.threads import training_threads
from tests.conftest import ROOT


def counted(call):
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        call()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(("options", "side"), [({}, 48), ({"channels": (32, 64, 64), "residual_blocks": 2}, 64)])
def test_multiply_adds_of_the_autoencoder_are_about_those_that_torch_counts(options, side):
    config = VaeConfig(**options)
    images = torch.zeros(config.batch_size, 1, side, side)
    assert config.multiply_adds(side**2) == pytest.approx(counted(lambda: build_autoencoder(config)(images)), rel=0.25)


@pytest.mark.parametrize(
    ("options", "side"),
    [({}, 6), ({"channels": (32, 64, 64), "attention_levels": (False,) * 3, "residual_blocks": 2}, 16)],
)
def test_multiply_adds_of_the_diffusion_model_are_about_those_that_torch_counts(options, side):
    config = LdmConfig(**options)
    latents, steps = torch.zeros(config.batch_size, 4, side, side), torch.zeros(config.batch_size, dtype=torch.long)
    expected = counted(lambda: build_unet(config, 4)(latents, timesteps=steps))
    assert config.multiply_adds(side**2) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(("options", "side"), [({}, 48), ({"depths": (2, 2, 6, 2), "widths": (40, 80, 160, 320)}, 96)])
def test_multiply_adds_of_the_encoder_are_about_those_that_torch_counts(options, side):
    config = EncoderConfig(batch_size=2, **options)
    images = torch.zeros(2 * config.batch_size, 3, side, side)
    network = build_backbone(config)
    assert config.multiply_adds(side**2) == pytest.approx(counted(lambda: network(images)), rel=0.25)


@pytest.mark.parametrize(
    ("options", "side"), [({}, 48), ({"bottleneck": True, "depths": (3, 4, 6, 3), "width": 64}, 128)]
)
def test_multiply_adds_of_dars_encoder_are_about_those_that_torch_counts(options, side):
    config = DarConfig(batch_size=2, **options)
    images = torch.rand(2 * config.batch_size, 1, side, side)
    assert config.multiply_adds(side**2) == pytest.approx(counted(lambda: Dar(config)(images)), rel=0.25)


def test_a_pretrained_backbone_gets_all_threads():
    assert training_threads(EncoderConfig(backbone="facebook/convnext-base-224").multiply_adds(48**2)) == 8


@pytest.mark.parametrize(
    ("name", "threads"), [("config", (1, 1, 1, 1)), ("brain", (8, 8, 8, 8)), ("chest", (8, 8, 8, 8))]
)
def test_small_networks_get_one_thread_and_those_of_the_paper_all(name, threads):
    config = load_config(ROOT / "config" / f"{name}.yaml")
    pixels = prod(config.dataset.image_size)
    latents = pixels / 4 ** (len(config.vae.channels) - 1)
    encoders = [config.encoder.multiply_adds(pixels), config.dar.multiply_adds(pixels)]
    found = [config.vae.multiply_adds(pixels), config.ldm.multiply_adds(latents), *encoders]
    assert tuple(map(training_threads, found)) == threads
