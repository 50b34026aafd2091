"""Generation: networks, tables and image trees in the published formats, read here and written here, in the reference's orientation.

MONAI's loader gives images of shape [width, height], so networks of the reference see transposed images and write such.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from deepssim.cli import main
from deepssim.config.settings import load_config
from deepssim.generative.autoencoder_training import build_discriminator
from deepssim.generative.checkpoints import load_any_autoencoder, load_any_unet
from deepssim.images.keys import synthetic_key
from deepssim.seeds import torch_generator
from tests.conftest import ROOT
from tests.generative.test_checkpoints import largest_difference, randomise, their_autoencoder, their_unet, theirs
from tests.reference.published import smooth

COVARIATES = ("age_norm", "sex_norm", "sequence_norm", "csf_perc", "wm_perc", "gm_perc")
WIDTH, HEIGHT = 68, 56  # as the published brain slices, wider than high, and no multiple of 16
LATENT, PADDED = (3, 17, 14), (3, 20, 16)  # of the transposed images; "3x17x14" as the reference's options have it
FEATURES = {"none": 0, "variables": 6, "text": 512}
STEPS, SEED = 5, 3
SHAPES = ["--latent_shape", "x".join(map(str, PADDED)), "--vae_space_shape", "x".join(map(str, LATENT))]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working directory with `data_brain/dataset.csv`, whose paths start from the working directory, and a narrow config."""
    place = tmp_path_factory.mktemp("work")
    data = place / "data_brain"
    data.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for number in range(6):
        Image.fromarray(smooth(random, (HEIGHT, WIDTH))).save(data / f"{number}.png")
        np.savez(data / f"{number}.npz", data=random.normal(size=512).astype(np.float32))
        row = {"image_uid": f"r{number}", "image_path": f"data_brain/{number}.png"}
        row |= {"split": "train" if number < 4 else "valid", "caption_emb_path": f"data_brain/{number}.npz"}
        rows.append(row | {name: (number + place) / 12 for place, name in enumerate(COVARIATES)})
    pd.DataFrame(rows).to_csv(data / "dataset.csv", index=False)
    study = yaml.safe_load((ROOT / "config" / "brain.yaml").read_text())
    vae = study["vae"] | {
        "channels": [4, 8, 8],
        "norm_groups": 4,
        "perceptual": "gradient",
        "discriminator_channels": 2,
    }
    ldm = study["ldm"] | {"channels": [16, 32, 48], "norm_groups": 4, "head_channels": 48, "validate_every": 1}
    settings = {"device": "cpu", "dataset": {"kind": "table", "path": "x", "image_size": None}, "vae": vae, "ldm": ldm}
    settings |= {"synthesis": {"sampler_steps": STEPS, "batch_size": 4}, "seed": SEED}
    settings["ldm"]["memorization"] = {"every": 1, "images": 2}
    (place / "narrow.yaml").write_text(yaml.safe_dump(settings))
    return place


@pytest.fixture
def working(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def published(place):
    """State dicts as the reference saves them: of the autoencoder, and of the diffusion model with each conditioning."""
    config = load_config(place / "narrow.yaml")
    autoencoder = randomise(their_autoencoder(config.vae))
    torch.save(autoencoder.state_dict(), place / "autoencoder-ep-99.pth")
    unets = {}
    for name, features in FEATURES.items():
        unets[name] = randomise(their_unet(config.ldm, features))
        torch.save(unets[name].state_dict(), place / f"unet-{name}.pth")
    return autoencoder, unets


def condition(name, number):
    """Return the condition of a record, (1, 1, D) or None."""
    row = pd.read_csv("data_brain/dataset.csv").iloc[number]
    values = {
        "none": lambda: None,
        "variables": lambda: row[list(COVARIATES)].to_numpy(np.float32),
        "text": lambda: np.load(row["caption_emb_path"])["data"],
    }[name]()
    return None if values is None else torch.from_numpy(values).reshape(1, 1, -1)


@torch.inference_mode()
def ddim(noise, unet, context):
    """Denoise by the formula of Song et al. 2021, eq. 12 without noise, at the multiples of 1000 / steps."""
    betas = torch.linspace(math.sqrt(0.0015), math.sqrt(0.0205), 1000) ** 2
    alphas, stride, latents = torch.cumprod(1 - betas, dim=0), 1000 // STEPS, noise
    for time in range((STEPS - 1) * stride, -1, -stride):
        now, then = alphas[time], alphas[time - stride] if time >= stride else torch.tensor(1.0)
        epsilon = unet(latents, timesteps=torch.tensor([time]), context=context)
        clean = (latents - (1 - now).sqrt() * epsilon) / now.sqrt()
        latents = then.sqrt() * clean + (1 - then).sqrt() * epsilon
    return latents


@torch.inference_mode()
def generated(published, name, number, count):
    """Generate the image of a record from this project's noise by the reference's steps; float64 [width, height], 0 to 255."""
    autoencoder, unets = published
    noise = torch.randn(PADDED, generator=torch_generator(SEED, "generate", synthetic_key(f"r{number}", count)))
    latents = ddim(noise[None], unets[name], condition(name, number))
    top, left = ((padded - kept) // 2 for padded, kept in zip(PADDED[1:], LATENT[1:], strict=True))
    kept = latents[:, :, top : top + LATENT[1], left : left + LATENT[2]]
    image = autoencoder.decode_stage_2_outputs(kept)[0, 0].double().numpy()
    return 255 * (image - image.min()) / (image.max() - image.min())


@pytest.mark.parametrize("name", FEATURES)
def test_published_checkpoints_generate_the_images_of_the_reference(working, published, name, tmp_path):
    """The README's shapes, transposed images beside a transposed training.png, and nothing else in the tree."""
    word = "conditioning" if name == "text" else name
    main(["ldm-generate", "--dataset_csv", "data_brain/dataset.csv", "--aekl_ckpt", "autoencoder-ep-99.pth", "--diff_ckpt",
          f"unet-{name}.pth", "--output_path", str(tmp_path / "tree"), "--conditioning", word, *SHAPES,
          "--n_gen_per_record", "2", "--config", "narrow.yaml"])  # fmt: skip
    files = sorted(
        str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*") if path.is_file()
    )
    names = ("gen-0.png", "gen-1.png", "training.png")
    assert files == [f"r{number}/{file}" for number in range(6) for file in names]
    for number in range(6):
        original = np.array(Image.open(f"data_brain/{number}.png"))
        np.testing.assert_array_equal(
            np.array(Image.open(tmp_path / "tree" / f"r{number}" / "training.png")), original.T
        )
    for number, count in ((0, 0), (5, 1)):
        found = np.array(Image.open(tmp_path / "tree" / f"r{number}" / f"gen-{count}.png"))
        assert found.shape == (WIDTH, HEIGHT)
        # Rounded here, cut off there: at most one grey level.
        np.testing.assert_allclose(found, generated(published, name, number, count), atol=0.52, rtol=0)


@pytest.fixture(scope="module")
def trained(place):
    """What the first training command writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        main(["ldm-train-vae", "--dataset_csv", "data_brain/dataset.csv", "--output_dir", "vae", "--config", "narrow.yaml",
              "--n_epochs", "2", "--batch_size", "4", "--max_batch_size", "2"])  # fmt: skip
    return place / "vae" / "models"


def images(places):
    """Return images as the reference's networks see them, (N, 1, width, height)."""
    pixels = [np.array(Image.open(f"data_brain/{number}.png")).T / 255 for number in places]
    return torch.from_numpy(np.stack(pixels)).float()[:, None]


def test_an_autoencoder_trained_here_loads_strictly_there(working, trained):
    config = load_config("narrow.yaml")
    ours = load_any_autoencoder(trained / "autoencoder.safetensors", config.vae)[0]
    last = their_autoencoder(config.vae)
    last.load_state_dict(torch.load(trained / "autoencoder-ep-1.pth", weights_only=True))
    assert largest_difference(ours.reconstruct, last.reconstruct, images([0, 5])) < 1e-6
    their_autoencoder(config.vae).load_state_dict(torch.load(trained / "autoencoder-ep-0.pth", weights_only=True))


def test_a_discriminator_trained_here_loads_strictly_there(working, trained):
    config = load_config("narrow.yaml")
    weights = torch.load(trained / "discriminator-ep-1.pth", weights_only=True)
    ours = build_discriminator(config.vae).eval()
    old = theirs.PatchDiscriminator(
        spatial_dims=2, num_layers_d=3, num_channels=config.vae.discriminator_channels, in_channels=1, out_channels=1
    ).eval()
    ours.load_state_dict(weights)
    old.load_state_dict(weights)
    with torch.inference_mode():
        for one, other in zip(ours(images([0])), old(images([0])), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", FEATURES)
def test_a_diffusion_model_trained_here_loads_strictly_there(working, trained, name, tmp_path):
    """Started from a published one, on the autoencoder's state dict; with copies of images, each in a row of its own."""
    word = "conditioning" if name == "text" else name
    main(["ldm-train-diff", "--dataset_csv", "data_brain/dataset.csv", "--output_dir", str(tmp_path), "--aekl_ckpt",
          str(trained / "autoencoder-ep-1.pth"), "--conditioning", word, "--duplication", "low", *SHAPES, "--n_epochs", "1",
          "--batch_size", "4", "--config", "narrow.yaml"])  # fmt: skip
    config = load_config("narrow.yaml")
    ours = load_any_unet(tmp_path / "models" / "unet.safetensors", config.ldm, 3, FEATURES[name])[0]
    old = their_unet(config.ldm, FEATURES[name])
    old.load_state_dict(torch.load(tmp_path / "models" / "unet-ep-0.pth", weights_only=True))
    latents, context = torch.randn(1, *PADDED), condition(name, 0)
    assert largest_difference(ours, old, latents, timesteps=torch.tensor([700]), context=context) < 1e-5
    used, table = pd.read_csv(tmp_path / "train-used.csv"), pd.read_csv("data_brain/dataset.csv")
    assert set(used["image_uid"]) == {f"r{number}" for number in range(4)}
    assert used["image_uid"].value_counts().between(1, 4).all()
    assert set(table.columns) <= set(used.columns)


def test_generation_from_equal_noise_agrees_to_four_digits(working, published):
    """This project's loop and networks against the formula with the networks of monai-generative, before quantisation."""
    from deepssim.generative.latents import crop
    from deepssim.generative.sampling import denoise

    config = load_config("narrow.yaml")
    autoencoder = load_any_autoencoder("autoencoder-ep-99.pth", config.vae)[0]
    for name, features in FEATURES.items():
        unet = load_any_unet(f"unet-{name}.pth", config.ldm, 3, features)[0]
        noise = torch.randn((1, *PADDED), generator=torch.Generator().manual_seed(1))
        expected = ddim(noise, published[1][name], condition(name, 2))
        with torch.inference_mode():
            found = denoise(noise, unet, config.ldm, config.synthesis, condition(name, 2))
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
            decoded = autoencoder.decode(crop(found, LATENT[1:], 4))
            kept = expected[:, :, 1:18, 1:15]
            torch.testing.assert_close(decoded, published[0].decode_stage_2_outputs(kept), atol=1e-4, rtol=0)
