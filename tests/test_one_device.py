"""Networks, training steps, sampling and embedding stay on the device that they are given; the device is a stand-in for a GPU."""

import numpy as np
import pytest
import torch

from deepssim.config.choices import Conditioning, Perceptual, Precision, Recipe, Sampler
from deepssim.config.encoders import DarConfig, EncoderConfig
from deepssim.config.generative import LdmConfig, SynthesisConfig, VaeConfig
from deepssim.encoders.dar_training import DarTraining
from deepssim.encoders.deepssim import DeepSSIM
from deepssim.encoders.extraction import extract
from deepssim.encoders.families import MEMBERS, Families
from deepssim.encoders.recipes import DeepSSIMTraining
from deepssim.generative.autoencoder import build_autoencoder, encode, reconstruct
from deepssim.generative.autoencoder_training import VaeTraining
from deepssim.generative.diffusion import build_unet
from deepssim.generative.diffusion_training import LdmTraining
from deepssim.generative.latents import Latents
from deepssim.generative.sampling import generate
from deepssim.images.keys import real_key, synthetic_key
from deepssim.images.packs import ImagePack
from tests.one_device import GPU, one_device

VAE = VaeConfig(
    channels=(8, 8), latent_channels=2, norm_groups=4, perceptual=Perceptual.GRADIENT, adversarial_weight=0.1,
    discriminator_channels=4, discriminator_layers=2,
)  # fmt: skip
LDM = LdmConfig(channels=(8, 16), attention_levels=(False, True), norm_groups=4, head_channels=8)
ENCODER = EncoderConfig(patch_size=4, widths=(8, 8, 16, 16), hidden_features=16, embedding_features=8)


def quiet(module):
    module.log = module.log_dict = lambda *arguments, **named: None
    return module.to(GPU)


def step(loss):
    assert loss.device == GPU
    loss.backward()


def test_the_stand_in_refuses_what_a_gpu_refuses():
    with one_device() as watched:
        there = torch.zeros(3, device=GPU)
        assert (there + torch.tensor(2.0)).device == GPU  # a number
        assert there[torch.tensor([0, 2])].shape == (2,)
        with pytest.raises(AssertionError, match="on cpu and meta"):
            there + torch.zeros(3)
        assert (there.cpu() == 1).all()
    assert watched.computed >= 3


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("conditions", [0, 3])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_steps_of_the_diffusion_model(spatial_dims, conditions, narrow):
    conditioning = {"conditioning": Conditioning.VARIABLES, "condition_columns": ("age",), "condition_dropout": 0.1}
    options = LDM.with_changes(**(conditioning if conditions else {}))
    module = quiet(LdmTraining(options, 2, conditions, spatial_dims))
    batch = [torch.zeros(2, 2, *(4,) * spatial_dims, device=GPU)]
    batch += [torch.zeros(2, 1, conditions, device=GPU)] if conditions else []
    with one_device() as watched, torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        step(module.training_step(tuple(batch), 0))
        module.validation_step(tuple(batch), 0)
    assert watched.computed > 100


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_steps_of_the_autoencoder(spatial_dims):
    module = quiet(VaeTraining(VAE, spatial_dims))
    images = torch.zeros(2, 1, *(16,) * spatial_dims, device=GPU)
    with one_device() as watched:
        loss, reconstruction = module._loss(images, "train_loss")
        step(loss + module._generator_loss(reconstruction))
        step(module._discriminator_loss(images, reconstruction.detach()))
    assert watched.computed > 100


@pytest.mark.parametrize("canonicalize", [False, True])
@pytest.mark.parametrize("features", [False, True])
def test_steps_of_the_encoder(canonicalize, features):
    options = ENCODER.with_changes(canonicalize=canonicalize, ssim_features=features, recipe=Recipe.PAPER)
    module = quiet(DeepSSIMTraining(options))
    real, synthetic = (torch.zeros(2, 1, 32, 32, device=GPU) for _ in range(2))
    with one_device() as watched:
        step(module.training_step((real, synthetic, torch.zeros(2, device=GPU)), 0)["loss"])
    assert watched.computed > 100


def test_steps_of_dar():
    module = quiet(DarTraining(DarConfig(width=4, embedding_features=8)))
    with one_device() as watched:
        step(module.training_step((torch.zeros(4, 1, 32, 32, device=GPU),), 0))
    assert watched.computed > 100


@pytest.mark.parametrize("sampler", list(Sampler))
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_sampling(sampler, guidance):
    conditions = np.zeros((1, 1, 3), np.float32)
    latents = Latents(np.zeros((1, 2, 4, 6), np.float32), [real_key("r0")], 1.3, conditions)
    options = SynthesisConfig(sampler=sampler, sampler_steps=5, batch_size=4, guidance_scale=guidance)
    unet, autoencoder = build_unet(LDM, 2, 3), build_autoencoder(VAE)
    with one_device() as watched:
        drawn = generate(
            [synthetic_key("r0", number) for number in range(3)], unet, autoencoder, latents=latents, ldm=LDM,
            options=options, seed=0, device=GPU, bit_depth=8,
        )  # fmt: skip
    assert drawn.images.shape == (3, 8, 12)
    assert watched.computed > 500


@pytest.mark.parametrize("canonicalize", [False, True])
def test_embedding(random, canonicalize):
    network = DeepSSIM(ENCODER.with_changes(canonicalize=canonicalize))
    pack = ImagePack(random.integers(0, 256, (9, 48, 40), dtype=np.uint8), [str(number) for number in range(9)])
    with one_device() as watched:
        values = extract(network, pack, device=GPU, batch_size=8, precision=Precision.FLOAT32)
    assert values.shape == (9, 8)
    assert watched.computed > 100


def test_encoding_and_reconstructing(packs):
    network = build_autoencoder(VAE)
    images = ImagePack(packs[1].images[:, :16, :16], packs[1].keys)
    with one_device() as watched:
        assert encode(network, images, device=GPU).shape == (len(images.keys), 2, 8, 8)
        for noise in (0.0, 0.1):
            assert reconstruct(network, images, device=GPU, noise=noise).shape == images.images.shape
    assert watched.computed > 100


def test_batches_of_families(random, monkeypatch):
    pack = ImagePack(random.integers(0, 256, (3, 32, 32), dtype=np.uint8), [real_key(f"r{n}") for n in range(3)])
    given = Families(pack)
    monkeypatch.setattr("deepssim.encoders.families.exact_ssim", lambda images, threads: torch.eye(len(images)))
    with one_device() as watched:
        drawn = given.draw(torch.arange(2, device=GPU), GPU)
    assert {part.device for part in drawn} == {GPU}
    assert drawn.images.shape == (2 * MEMBERS, 1, 32, 32)
    assert watched.computed > 50
