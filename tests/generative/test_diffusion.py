import numpy as np
import pytest
import torch

from deepssim.config import Device, LdmConfig, SynthesisConfig, VaeConfig, load_config
from deepssim.generative.autoencoder import build_autoencoder
from deepssim.generative.diffusion import build_unet, load_unet, save_unet, train_diffusion
from deepssim.generative.latents import Latents
from deepssim.generative.sampling import denoise, generate
from deepssim.images.keys import synthetic_key
from tests.conftest import ROOT

TINY = LdmConfig(
    channels=(8, 16), attention_levels=(False, True), norm_groups=4, head_channels=8, epochs=20, passes=1,
    batch_size=8, learning_rate=3e-3, validate_every=1,
)  # fmt: skip
KEYS = [synthetic_key(f"r{n}", i) for n in range(3) for i in range(2)]


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    vae = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
    return build_unet(TINY, 2).eval(), build_autoencoder(vae).eval()


def draw(networks, keys, batch_size=4, seed=0, bit_depth=8):
    options = SynthesisConfig(sampler_steps=5, batch_size=batch_size)
    unet, vae = networks
    return generate(keys, unet, vae, latent_shape=(2, 5, 6), scale=1.3, ldm=TINY, options=options, seed=seed,
                    device=torch.device("cpu"), bit_depth=bit_depth)  # fmt: skip


@pytest.mark.parametrize("name", ["brain", "chest"])
def test_the_networks_of_the_paper_can_be_built(name):
    options = load_config(ROOT / "config" / f"{name}.yaml").ldm
    with torch.device("meta"):
        network = build_unet(options, 3)
    assert 1e8 < sum(weights.numel() for weights in network.parameters()) < 4e8


def test_training_learns_and_the_file_keeps_it(tmp_path, random):
    values = random.normal(size=(8, 2, 5, 6)).astype(np.float32)
    latents = Latents(values, [f"k{n}" for n in range(8)], 1.0)
    network, trained = train_diffusion(
        latents, latents.select(["k1"]), TINY, seed=0, device=Device.CPU, state=tmp_path / "state"
    )
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"] - 0.1
    assert trained.history[-1]["valid_loss"] < trained.history[0]["valid_loss"]
    save_unet(tmp_path / "unet.safetensors", network, TINY)
    again, options = load_unet(tmp_path / "unet.safetensors")
    assert options == TINY
    noise = torch.randn(2, 2, 6, 6)
    with torch.inference_mode():
        torch.testing.assert_close(denoise(noise, again, TINY, 3), denoise(noise, network, TINY, 3), rtol=0, atol=0)


def test_images_follow_their_keys(networks):
    images = draw(networks, KEYS)
    assert images.keys == KEYS
    assert images.images.shape == (6, 10, 12)
    assert (images.images.min(axis=(1, 2)) == 0).all()
    assert (images.images.max(axis=(1, 2)) == 255).all()
    assert draw(networks, KEYS[:1], bit_depth=16).images.max() == 65535


def test_an_image_does_not_depend_on_batch_or_shard(networks):
    together = draw(networks, KEYS).images.astype(int)
    for part in (KEYS[:2], KEYS[2:], KEYS[5:]):
        rows = [KEYS.index(key) for key in part]
        np.testing.assert_array_equal(draw(networks, part).images, together[rows])
    # another batch size may round differently in the last bit of a float: at most one grey level
    assert np.abs(draw(networks, KEYS, batch_size=3).images - together).max() <= 1
    assert np.abs(draw(networks, KEYS, seed=1).images - together).max() > 20


def test_a_perfect_noise_predictor_gives_the_image_back():
    """With one training latent the best prediction is known in closed form, and DDIM must end at that latent."""
    from monai.networks.schedulers import DDPMScheduler

    from deepssim.generative.diffusion import schedule_arguments

    target = torch.randn(1, 2, 4, 4)
    alphas = DDPMScheduler(**schedule_arguments(TINY)).alphas_cumprod

    def perfect(latents, timesteps):
        alpha = alphas[timesteps][:, None, None, None]
        return (latents - alpha.sqrt() * target) / (1 - alpha).sqrt()

    result = denoise(torch.randn(3, 2, 4, 4), perfect, TINY, 50)
    torch.testing.assert_close(result, target.expand(3, -1, -1, -1), atol=0.02, rtol=0)
