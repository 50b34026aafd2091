"""The stages in which a generator's networks meet images or each other."""

import pandas as pd
import pytest

from deepssim.config.choices import Conditioning, Device, Orientation
from deepssim.config.generative import LdmConfig, SynthesisConfig, VaeConfig
from deepssim.errors import DataError
from deepssim.generative.autoencoder import build_autoencoder, save_autoencoder
from deepssim.generative.diffusion import build_unet, save_unet
from deepssim.images.packs import write_pack
from deepssim.stages.latents import encode_latents
from deepssim.stages.synthesis import generate

VAE = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
LDM = LdmConfig(channels=(8, 8), attention_levels=(False, False), residual_blocks=1, norm_groups=4, head_channels=8)


@pytest.fixture
def world(tmp_path, packs):
    """Table and pack of real images, an autoencoder of transposed and a diffusion model of upright ones."""
    real = packs[0]
    identity = {"path": "", "role": "real", "subject": real.keys, "split": "train"}
    pd.DataFrame({"key": real.keys, **identity}).to_csv(tmp_path / "images.csv", index=False)
    pd.DataFrame({"key": real.keys, "copies": 1}).to_csv(tmp_path / "train_used.csv", index=False)
    write_pack(tmp_path / "real.h5", real)
    save_autoencoder(tmp_path / "vae.safetensors", build_autoencoder(VAE), VAE, Orientation.TRANSPOSED)
    save_unet(tmp_path / "unet.safetensors", build_unet(LDM, 2), LDM, 1.0, Orientation.UPRIGHT)
    return tmp_path


def encode(world, orientation):
    encode_latents(
        images=str(world / "images.csv"), pack=str(world / "real.h5"), weights=str(world / "vae.safetensors"),
        latents=str(world / "latents.h5"), orientation=orientation, device=Device.CPU, conditioning=Conditioning.NONE,
        condition_columns=(), scale_latents=False,
    )  # fmt: skip


def sample(world):
    generate(
        train_used=str(world / "train_used.csv"), latents=str(world / "latents.h5"), pack=str(world / "000.h5"),
        autoencoder=str(world / "vae.safetensors"), unet=str(world / "unet.safetensors"),
        synthesis=SynthesisConfig(sampler_steps=4, batch_size=2, images_per_record=1), bit_depth=8, seed=0, device=Device.CPU,
    )  # fmt: skip


def test_networks_and_images_of_two_orientations_are_refused(world):
    with pytest.raises(DataError, match="trained on transposed images, but dataset.orientation is upright; set it to"):
        encode(world, Orientation.UPRIGHT)
    assert not (world / "latents.h5").exists()
    encode(world, Orientation.TRANSPOSED)
    with pytest.raises(
        DataError, match=r"unet\.safetensors: was trained on latents of upright images, but .* transposed"
    ):
        sample(world)
    save_unet(world / "unet.safetensors", build_unet(LDM, 2), LDM, 1.0, Orientation.TRANSPOSED)
    sample(world)
