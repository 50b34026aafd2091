import numpy as np
import pytest
import torch
from monai.networks.schedulers import DDPMScheduler

from deepssim.config.choices import Conditioning, Device, Duplication, Intensity
from deepssim.config.generative import LdmConfig, SynthesisConfig, VaeConfig
from deepssim.config.settings import load_config
from deepssim.errors import DataError
from deepssim.generative.autoencoder import build_autoencoder, encode, reconstruct
from deepssim.generative.diffusion import (
    NO_CONDITION,
    build_unet,
    condition_features,
    load_unet,
    save_unet,
    schedule_arguments,
    trained_scale,
)
from deepssim.generative.diffusion_training import draw_copies, train_diffusion
from deepssim.generative.latents import Latents
from deepssim.generative.sampling import _predict, denoise, generate
from deepssim.images.keys import synthetic_key
from deepssim.images.packs import ImagePack
from deepssim.images.standardize import quantise
from tests.conftest import ROOT

TINY = LdmConfig(
    channels=(8, 16), attention_levels=(False, True), norm_groups=4, head_channels=8, epochs=20, passes=1,
    batch_size=8, learning_rate=3e-3, validate_every=1,
)  # fmt: skip
LATENTS = Latents(np.zeros((1, 2, 5, 6), np.float32), ["r0___training"], 1.3)
KEYS = [synthetic_key(f"r{n}", i) for n in range(3) for i in range(2)]


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    vae = VaeConfig(channels=(8, 8), latent_channels=2, norm_groups=4)
    return build_unet(TINY, 2).eval(), build_autoencoder(vae).eval()


def draw(networks, keys, batch_size=4, seed=0, bit_depth=8):
    options = SynthesisConfig(sampler_steps=5, batch_size=batch_size)
    unet, vae = networks
    return generate(keys, unet, vae, latents=LATENTS, ldm=TINY, options=options, seed=seed,
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
    save_unet(tmp_path / "unet.safetensors", network, TINY, 1.5)
    again, options = load_unet(tmp_path / "unet.safetensors")
    assert options == TINY
    assert trained_scale(tmp_path / "unet.safetensors") == 1.5
    noise, few = torch.randn(2, 2, 6, 6), SynthesisConfig(sampler_steps=4)
    with torch.inference_mode():
        torch.testing.assert_close(denoise(noise, again, TINY, few), denoise(noise, network, TINY, few), rtol=0, atol=0)


def test_conditions_are_learned(tmp_path, random):
    """Latents are the same but for their sign, which only the condition tells."""
    sign = np.where(np.arange(16) % 2, 1, -1).astype(np.float32)
    values = np.abs(random.normal(1, 0.1, size=(1, 2, 4, 4))).astype(np.float32) * sign[:, None, None, None]
    conditions = np.stack([sign, -sign], axis=1)[:, None].astype(np.float32)
    latents = Latents(values, [f"k{n}___training" for n in range(16)], 1.0, conditions)
    options = TINY.with_changes(
        conditioning=Conditioning.VARIABLES, epochs=2, passes=100, batch_size=16, condition_dropout=0.2
    )
    network, _ = train_diffusion(latents, latents.select([]), options, seed=0, device=Device.CPU, state=tmp_path / "x")
    save_unet(tmp_path / "unet.safetensors", network, options, 1.5)
    again, _ = load_unet(tmp_path / "unet.safetensors")
    target, conditional = torch.from_numpy(values).repeat(20, 1, 1, 1), torch.from_numpy(conditions).repeat(20, 1, 1)
    torch.manual_seed(0)
    noise, steps = torch.randn(target.shape), torch.full((len(target),), 300)
    noisy = DDPMScheduler(**schedule_arguments(options)).add_noise(target, noise, steps)

    def error(context):
        with torch.inference_mode():
            return float(((again(noisy, timesteps=steps, context=context) - noise) ** 2).mean())

    unconditional, swapped = torch.full_like(conditional, NO_CONDITION), conditional.flip(0)
    assert error(conditional) < error(unconditional) < error(swapped)
    assert error(conditional) < 0.85 * error(swapped)


def test_guidance_is_a_step_beyond_the_condition():
    def linear(latents, timesteps, context):
        return latents * timesteps[:, None, None, None] + context.mean(dim=(1, 2))[:, None, None, None]

    latents, times = torch.randn(3, 2, 4, 4), torch.tensor([1, 2, 3])
    context = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    conditional = linear(latents, times, context)
    unconditional = linear(latents, times, torch.full_like(context, NO_CONDITION))
    guided = _predict(linear, latents, times, 3.0, context)
    torch.testing.assert_close(guided, unconditional + 3 * (conditional - unconditional))
    torch.testing.assert_close(_predict(linear, latents, times, 1.0, context), conditional)


def test_each_record_has_its_own_condition(networks, random):
    """A batch mixes records, and no image depends on which."""
    torch.manual_seed(1)
    unet = build_unet(TINY, 2, 3).eval()
    for weight in unet.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    names = [f"r{n}___training" for n in range(3)]
    values = random.normal(size=(3, 2, 5, 6)).astype(np.float32)
    latents = Latents(values, names, 1.0, random.normal(size=(3, 1, 3)).astype(np.float32))

    def draw(keys, latents=latents):
        return generate(
            keys, unet, networks[1], latents=latents, ldm=TINY, options=SynthesisConfig(sampler_steps=5, batch_size=4),
            seed=0, device=torch.device("cpu"), bit_depth=16,
        ).images.astype(int)  # fmt: skip

    whole = draw(KEYS)
    # One of 65,535 levels: on some processors the last bit of a number depends on its place in a batch.
    np.testing.assert_allclose(draw(KEYS[3:]), whole[3:], atol=1, rtol=0)
    swapped = Latents(values, names, 1.0, latents.conditions[[1, 0, 2]])
    changed = np.abs(draw(KEYS, swapped) - whole).max(axis=(1, 2)) > 100
    assert changed.tolist() == [True] * 4 + [False] * 2


def test_intensities_are_those_of_the_config(networks):
    unet, vae = networks

    def draw(intensity):
        options = SynthesisConfig(sampler_steps=4, batch_size=2, intensity=intensity)
        return generate(KEYS[:2], unet, vae, latents=LATENTS, ldm=TINY, options=options, seed=0,
                        device=torch.device("cpu"), bit_depth=8).images  # fmt: skip

    stretched, fixed = draw(Intensity.PER_IMAGE), draw(Intensity.FIXED)
    assert (stretched.min(axis=(1, 2)) == 0).all()
    assert (stretched.max(axis=(1, 2)) == 255).all()
    for one, other in zip(stretched, fixed, strict=True):
        inside = (other > 0) & (other < 255)
        slope, offset = np.polyfit(one[inside], other[inside], 1)
        assert slope > 1.2  # an untrained decoder gives values beyond 0 to 1, which are cut off
        assert np.abs(slope * one[inside] + offset - other[inside]).max() < 3
    outside = torch.tensor([-1.0, 0.5, 2.0]).numpy()
    assert quantise(outside, 8).tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("duplication", "factor", "least", "most"),
    [("none", 1, 1, 1), ("low", 1, 1, 4), ("high", 1, 1, 14), ("fixed", 5, 5, 5)],
)
def test_training_images_are_duplicated(duplication, factor, least, most):
    options = TINY.with_changes(duplication=Duplication(duplication), duplication_factor=factor)
    keys = [f"k{n}" for n in range(600)]
    copies = draw_copies(keys, options, seed=0)
    assert (min(copies), max(copies)) == (least, most)
    assert np.mean(copies) == pytest.approx((least + most) / 2, rel=0.08)
    assert draw_copies(keys[::-1], options, seed=0) == copies[::-1]  # of each key, wherever it stands
    assert (draw_copies(keys, options, seed=1) == copies) is (least == most)


def test_an_epoch_has_all_copies(tmp_path, random):
    latents = Latents(random.normal(size=(5, 2, 4, 4)).astype(np.float32), [f"k{n}" for n in range(5)], 1.0)
    options = TINY.with_changes(duplication=Duplication.FIXED, duplication_factor=4, epochs=2, batch_size=5)
    _, trained = train_diffusion(latents, latents.select([]), options, seed=0, device=Device.CPU, state=tmp_path / "x")
    assert trained.history[-1]["step"] == 8


def test_latents_and_conditioning_must_fit(random):
    latents = Latents(random.normal(size=(2, 2, 4, 4)).astype(np.float32), ["a", "b"], 1.0)
    options = TINY.with_changes(conditioning=Conditioning.VARIABLES)
    with pytest.raises(DataError, match="latents have 0 condition values, but ldm.conditioning is 'variables'; encode"):
        condition_features(latents, options)
    conditional = Latents(latents.values, latents.keys, 1.0, np.zeros((2, 1, 6), np.float32))
    assert condition_features(conditional, options) == 6
    with pytest.raises(DataError, match="latents have 6 condition values, but ldm.conditioning is 'none'"):
        condition_features(conditional, TINY)


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


def scarce(network, name, most, monkeypatch):
    """Let a network's method fail for more than some images, as on a GPU that is nearly full; return the sizes it sees."""
    sizes, method = [], getattr(network, name)

    def limited(images, *arguments, **options):
        sizes.append(len(images))
        if len(images) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return method(images, *arguments, **options)

    monkeypatch.setattr(network, name, limited)
    return sizes


@pytest.mark.parametrize(("part", "name"), [(0, "forward"), (1, "decode")])
def test_short_memory_halves_the_batch_and_says_so(networks, part, name, monkeypatch, caplog):
    expected = draw(networks, KEYS, batch_size=2)
    sizes = scarce(networks[part], name, 3, monkeypatch)
    found = draw(networks, KEYS, batch_size=8)
    np.testing.assert_array_equal(found.images, expected.images)
    assert sizes[0] == 8
    assert sizes[-1] == 2
    assert "out of GPU memory while generating; repeating it with batches of 2" in caplog.text


def test_memory_for_no_image_is_an_error(networks, monkeypatch):
    scarce(networks[0], "forward", 0, monkeypatch)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        draw(networks, KEYS)


def test_encoding_and_reconstructing_halve_their_batches(networks, random, monkeypatch, caplog):
    pack = ImagePack(random.integers(0, 256, (6, 16, 16), dtype=np.uint8), [f"r{n}___training" for n in range(6)])
    device = torch.device("cpu")
    expected = encode(networks[1], pack, device=device), reconstruct(networks[1], pack, device=device)
    for name in ("encode", "reconstruct"):
        scarce(networks[1], name, 3, monkeypatch)
    found = encode(networks[1], pack, device=device), reconstruct(networks[1], pack, device=device)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert "out of GPU memory while encoding" in caplog.text
    assert "out of GPU memory while reconstructing" in caplog.text
