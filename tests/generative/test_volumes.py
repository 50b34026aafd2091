"""Autoencoder and diffusion model of volumes: the same code as for images, with convolutions of three dimensions."""

import numpy as np
import pytest
import torch

from deepssim.config.choices import Device, Perceptual
from deepssim.config.generative import LdmConfig, MemorizationConfig, SynthesisConfig, VaeConfig
from deepssim.errors import DataError
from deepssim.generative.autoencoder import (
    build_autoencoder,
    encode,
    load_autoencoder,
    reconstruct,
    reconstruct_pack,
    save_autoencoder,
)
from deepssim.generative.autoencoder_training import build_discriminator, train_autoencoder
from deepssim.generative.diffusion import build_unet, load_unet, save_unet, size_divisor
from deepssim.generative.diffusion_training import train_diffusion
from deepssim.generative.latents import Latents, crop, pad, padding, read_latents, write_latents
from deepssim.generative.losses import gradient_difference, perceptual_loss
from deepssim.generative.monitoring import copy_statistics
from deepssim.generative.sampling import generate
from deepssim.images.packs import ImagePack

CPU = torch.device("cpu")
VAE = VaeConfig(
    channels=(8, 8), latent_channels=2, norm_groups=4, perceptual=Perceptual.GRADIENT, adversarial_weight=0.05,
    discriminator_channels=4, discriminator_layers=1, epochs=4, passes=5, learning_rate=0.01,
)  # fmt: skip
LDM = LdmConfig(
    channels=(8, 16),
    head_channels=16,
    norm_groups=4,
    epochs=1,
    passes=2,
    batch_size=2,
    memorization=MemorizationConfig(every=0),
)


@pytest.fixture(scope="module")
def volumes() -> ImagePack:
    """Five smooth volumes that differ, (8, 12, 10)."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in (8, 12, 10)), indexing="ij"))
    centres = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 3, 1, 1, 1))
    images = 250 * np.exp(-2 * ((grid[None] - centres) ** 2).sum(axis=1))
    return ImagePack(images.astype(np.uint8), [f"{name}___training" for name in "abcde"])


def test_training_lowers_the_error_and_the_file_restores_the_network(tmp_path, volumes):
    torch.manual_seed(0)
    before = np.abs(reconstruct(build_autoencoder(VAE, 3), volumes, device=CPU) - volumes.unit()).mean()
    network, trained = train_autoencoder(
        volumes, volumes.select([]), VAE, seed=0, device=Device.CPU, state=tmp_path / "state"
    )
    after = reconstruct(network, volumes, device=CPU)
    assert after.shape == volumes.images.shape
    assert np.abs(after - volumes.unit()).mean() < 0.5 * before
    assert {"reconstruction_ssim", "train_loss_perceptual", "train_loss_adversarial"} <= set(trained.history[-1])
    save_autoencoder(tmp_path / "vae.safetensors", network, VAE)
    again = load_autoencoder(tmp_path / "vae.safetensors")
    latents = encode(again, volumes, device=CPU)
    assert latents.shape == (5, 2, 4, 6, 5)
    np.testing.assert_array_equal(latents, encode(network, volumes, device=CPU))
    noisy = reconstruct_pack(again, volumes, device=CPU, noise=0.5)
    assert noisy.images.shape == volumes.images.shape


@pytest.mark.parametrize(
    ("dims", "message"), [(3, "trained on volumes, but the pack holds images"), (2, "trained on images")]
)
def test_a_network_of_the_other_dimension_is_refused(volumes, dims, message):
    network = build_autoencoder(VAE, dims)
    pack = ImagePack(volumes.images[:, 4], volumes.keys) if dims == 3 else volumes
    for use in (encode, reconstruct):
        with pytest.raises(DataError, match=message):
            use(network, pack, device=CPU)


def test_the_discriminator_judges_patches_of_volumes():
    scores = build_discriminator(VAE, 3)(torch.rand(2, 1, 8, 12, 10))[-1]
    assert scores.ndim == 5
    assert scores[0].numel() > 1


def test_the_perceptual_loss_of_volumes_is_that_of_their_slices_along_all_axes(random):
    first, second = (torch.from_numpy(random.random((2, 1, 8, 9, 10))).float() for _ in range(2))
    loss = perceptual_loss(Perceptual.GRADIENT, 3)
    assert loss(first, first) == 0
    by_axis = []
    for axis in (2, 3, 4):
        pairs = zip(first.unbind(axis), second.unbind(axis), strict=True)
        by_axis.append(torch.stack([gradient_difference(one, other) for one, other in pairs]).mean())
    torch.testing.assert_close(loss(first, second), torch.stack(by_axis).mean())


@pytest.mark.parametrize("size", [(5, 6, 7), (8, 4, 12), (1, 2, 3)])
def test_crop_undoes_pad(size):
    latents = torch.randn(2, 3, *size)
    padded = pad(latents, 4)
    assert all(side % 4 == 0 and side - before < 4 for side, before in zip(padded.shape[2:], size, strict=True))
    assert torch.equal(crop(padded, size, 4), latents)
    assert padding((5, 8, 8), 4) == (0, 0, 0, 0, 1, 2)  # the last axis first, as torch takes it


def test_latents_survive_a_round_trip(tmp_path, random):
    first = Latents(random.normal(size=(3, 2, 4, 5, 6)).astype(np.float32), list("abc"), 0.7)
    write_latents(tmp_path / "x.h5", first)
    again = read_latents(tmp_path / "x.h5")
    np.testing.assert_array_equal(again.values, first.values)
    assert (again.shape, again.spatial_dims) == ((2, 4, 5, 6), 3)
    write_latents(tmp_path / "flat.h5", Latents(first.values[0, 0], list("abcd"), 0.7))
    with pytest.raises(DataError, match=r"latents of shape \(4, 5, 6\), expected"):
        read_latents(tmp_path / "flat.h5")


def test_a_diffusion_model_of_volumes_trains_survives_its_file_and_generates(tmp_path, volumes):
    autoencoder = build_autoencoder(VAE, 3).eval()
    latents = Latents(encode(autoencoder, volumes, device=CPU), volumes.keys, 1.0)
    network, trained = train_diffusion(
        latents, latents.select([]), LDM, seed=0, device=Device.CPU, state=tmp_path / "state"
    )
    assert trained.history[-1]["train_loss"] > 0
    save_unet(tmp_path / "unet.safetensors", network, LDM, 1.0)
    again, options = load_unet(tmp_path / "unet.safetensors")
    assert options == LDM
    keys = ["a___gen-0", "b___gen-0", "b___gen-1"]
    synthesis = SynthesisConfig(sampler_steps=4, batch_size=2)
    given = {"latents": latents, "ldm": LDM, "options": synthesis, "seed": 0, "device": CPU, "bit_depth": 8}
    pack = generate(keys, again, autoencoder, **given)
    assert pack.images.shape == (3, 8, 12, 10)
    assert len({volume.tobytes() for volume in pack.images}) == 3
    np.testing.assert_array_equal(pack.images, generate(keys, network, autoencoder, **given).images)
    for volume in pack.images:
        assert (volume.min(), volume.max()) == (0, 255)  # stretched as a whole


def test_guidance_asks_the_network_of_volumes_with_and_without_condition(volumes):
    network = build_unet(LDM, 2, 3, 3).eval()
    latents = Latents(np.zeros((1, 2, 4, 6, 5), np.float32), ["a___training"], 1.0, np.ones((1, 1, 3), np.float32))
    autoencoder = build_autoencoder(VAE, 3).eval()
    options = SynthesisConfig(sampler_steps=4, batch_size=1, guidance_scale=2.0)
    pack = generate(
        ["a___gen-0"], network, autoencoder, latents=latents, ldm=LDM, options=options, seed=0, device=CPU, bit_depth=16
    )
    assert pack.images.shape == (1, 8, 12, 10)
    assert pack.images.dtype == np.uint16
    assert size_divisor(LDM) == 2


def test_copies_of_volumes_are_counted(volumes):
    copied = ImagePack(volumes.images[[0, 2]], ["a___gen-0", "c___gen-0"])
    found = copy_statistics(volumes, copied)
    assert found["copy_rate"] == 1
    assert found["nearest_ssim"] == pytest.approx(1)
