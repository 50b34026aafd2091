"""Copies are counted while the diffusion model trains."""

import numpy as np
import pytest
import torch

from deepssim.config.choices import Device
from deepssim.config.generative import LdmConfig, MemorizationConfig, VaeConfig
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.diffusion_training import train_diffusion
from deepssim.generative.latents import Latents
from deepssim.generative.monitoring import copy_statistics, keys_to_generate, memorization_inspection
from deepssim.images.packs import ImagePack

TINY = LdmConfig(
    channels=(8, 16), attention_levels=(False, True), norm_groups=4, head_channels=8, epochs=4, passes=1, batch_size=6,
    validate_every=1, memorization=MemorizationConfig(every=2, images=5),
)  # fmt: skip


def test_keys_are_spread_over_the_records():
    keys = [f"r{n}___training" for n in range(9)]
    assert keys_to_generate(keys, 3) == ["r0___gen-0", "r4___gen-0", "r8___gen-0"]
    assert keys_to_generate(keys, 9) == [f"r{n}___gen-0" for n in range(9)]
    assert keys_to_generate(keys[:2], 5) == ["r0___gen-0", "r1___gen-0", "r0___gen-1", "r1___gen-1", "r0___gen-2"]


def test_copies_are_those_above_the_published_threshold(random):
    images = random.integers(0, 256, (4, 24, 24), dtype=np.uint8)
    train = ImagePack(images, list("abcd"))
    other = random.integers(0, 256, (2, 24, 24), dtype=np.uint8)
    found = copy_statistics(train, ImagePack(np.concatenate([images[[2]], other]), ["x", "y", "z"]))
    assert found["copy_rate"] == pytest.approx(1 / 3)
    assert 1 / 3 < found["nearest_ssim"] < 0.6
    assert copy_statistics(train, train) == {"copy_rate": 1.0, "nearest_ssim": pytest.approx(1.0)}


@pytest.mark.parametrize("stop_above", [None, 0.0])
def test_the_history_has_the_copy_rate_and_a_limit_ends_the_training(tmp_path, random, monkeypatch, stop_above):
    options = TINY.with_changes(memorization=MemorizationConfig(every=2, images=5, stop_above=stop_above))
    train = ImagePack(random.integers(0, 256, (6, 16, 16), dtype=np.uint8), [f"r{n}___training" for n in range(6)])
    latents = Latents(random.normal(size=(6, 2, 8, 8)).astype(np.float32), train.keys, 1.0)
    autoencoder = build_autoencoder(VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)).eval()
    inspection = memorization_inspection(train, latents, autoencoder, options, seed=0, device=torch.device("cpu"))
    if stop_above is not None:  # an untrained decoder copies nothing by itself
        inspect = inspection.inspect
        monkeypatch.setattr(inspection, "inspect", lambda *given: inspect(*given) | {"copy_rate": 0.5})
    _, trained = train_diffusion(
        latents, latents.select([]), options, seed=0, device=Device.CPU, state=tmp_path / "x", inspection=inspection
    )
    rates = [row.get("copy_rate") for row in trained.history]
    assert rates == ([None, 0.0, None, 0.0] if stop_above is None else [None, 0.5])
    assert trained.history[1]["nearest_ssim"] < 0.6
    assert (tmp_path / "x" / "pictures" / "epoch-00002.png").stat().st_size > 0


def test_nothing_is_counted_unless_asked(packs):
    options = TINY.with_changes(memorization=MemorizationConfig(every=0))
    real, _ = packs
    assert memorization_inspection(real, None, None, options, seed=0, device=None) is None
