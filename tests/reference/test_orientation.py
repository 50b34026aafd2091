"""Images lie as the reference laid them where its weights are used: transposed, since MONAI's loader gives [width, height]."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from monai.transforms import LoadImage
from PIL import Image

from deepssim.cli import main
from deepssim.config.choices import Orientation
from deepssim.config.generative import LdmConfig, VaeConfig
from deepssim.errors import ConfigError
from deepssim.generative.autoencoder import build_autoencoder, save_autoencoder
from deepssim.generative.diffusion import build_unet, save_unet
from deepssim.reference.generation import settings_for
from deepssim.runtime.weights import recorded_orientation
from tests.conftest import ROOT
from tests.generative.given import make_remember, remembered

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from generative.networks import nets as theirs

VAE = VaeConfig(channels=(8, 8), latent_channels=2, residual_blocks=1, norm_groups=4)
LDM = LdmConfig(channels=(8, 8), attention_levels=(False, False), residual_blocks=1, norm_groups=4, head_channels=8)


def write_table(folder, images):
    """Write images as PNG and the table that the commands read."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
        rows.append({"image_uid": f"r{number}", "image_path": f"{number}.png", "split": "train"})
    pd.DataFrame(rows).to_csv(folder / "dataset.csv", index=False)
    return str(folder / "dataset.csv")


def write_config(path, **sections):
    path.write_text(yaml.safe_dump({"device": "cpu", "synthesis": {"sampler_steps": 4, "batch_size": 4}} | sections))
    return str(path)


@pytest.fixture
def small(tmp_path):
    """A config with the networks of this file."""
    vae = {"channels": [8, 8], "latent_channels": 2, "residual_blocks": 1, "norm_groups": 4}
    ldm = vae | {"attention_levels": [False, False], "head_channels": 8}
    del ldm["latent_channels"]
    return write_config(
        tmp_path / "small.yaml", vae=vae, ldm=ldm, dataset={"kind": "table", "path": "x.csv", "image_size": None}
    )


@pytest.fixture
def published(tmp_path):
    """State dicts of monai-generative, as its users save them, of a generator that makes one image whatever the noise."""
    vae = theirs.AutoencoderKL(
        spatial_dims=2, in_channels=1, out_channels=1, num_channels=(8, 8), num_res_blocks=1, latent_channels=2,
        norm_num_groups=4, attention_levels=(False, False), with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )  # fmt: skip
    make_remember(vae)
    unet = theirs.DiffusionModelUNet(
        spatial_dims=2, in_channels=2, out_channels=2, num_channels=(8, 8), num_res_blocks=1, norm_num_groups=4,
        attention_levels=(False, False), resblock_updown=True, num_head_channels=(8, 8),
    )  # fmt: skip
    torch.save(vae.state_dict(), tmp_path / "autoencoder-ep-99.pth")
    torch.save(unet.state_dict(), tmp_path / "unet-ep-99.pth")
    return str(tmp_path / "autoencoder-ep-99.pth"), str(tmp_path / "unet-ep-99.pth")


def generate(tree, table, vae, unet, config, *options):
    main(["ldm-generate", "--dataset_csv", table, "--aekl_ckpt", vae, "--diff_ckpt", unet, "--output_path", str(tree),
          "--n_gen_per_record", "1", "--config", config, *options])  # fmt: skip
    return [np.asarray(Image.open(tree / "r0" / f"{name}.png")) for name in ("training", "gen-0")]


@pytest.mark.parametrize("size", [(32, 24), (24, 24)])
def test_a_copy_lies_as_the_image_that_was_copied(tmp_path, published, small, random, size, capsys):
    """The reference trained on files that its loader transposed; its generator copies the first of these exactly."""
    as_trained = remembered(*size)
    others = [random.integers(0, 256, size[::-1], dtype=np.uint8) for _ in range(3)]
    table = write_table(tmp_path / "data", [np.ascontiguousarray(as_trained.T), *others])
    np.testing.assert_array_equal(LoadImage()(tmp_path / "data" / "0.png").numpy(), as_trained)
    training, copy = generate(tmp_path / "tree", table, *published, small)
    np.testing.assert_array_equal(training, as_trained)
    np.testing.assert_array_equal(copy, training)
    if size[0] == size[1]:  # otherwise the shape of the copy is that of the images
        training, copy = generate(tmp_path / "upright", table, *published, small, "--orientation", "upright")
        np.testing.assert_array_equal(copy, training.T)  # as it was read before: no copy would be found
        assert not np.array_equal(copy, training)
    again = ["ldm-generate", "--dataset_csv", table, "--aekl_ckpt", published[0], "--diff_ckpt", published[1],
             "--output_path", str(tmp_path / "tree"), "--n_gen_per_record", "1", "--config", small]  # fmt: skip
    main(again)  # all images are there
    fails(
        [*again, "--orientation", "upright"],
        "tree: 4 of 4 real images are not those of the table, or were written",
        capsys,
    )


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    """Images of the published brain study, 136 wide and 112 high, and its networks at a sixteenth of their width."""
    folder = tmp_path_factory.mktemp("brain")
    random = np.random.default_rng(0)
    table = write_table(folder / "data", [random.integers(0, 256, (112, 136), dtype=np.uint8) for _ in range(4)])
    vae = {"channels": [4, 8, 8], "residual_blocks": 1, "norm_groups": 4, "latent_channels": 3, "perceptual": "none",
           "adversarial_weight": 0.0}  # fmt: skip
    ldm = {"channels": [8, 8, 8], "residual_blocks": 1, "norm_groups": 4, "attention_levels": [False, False, False],
           "scale_latents": False, "memorization": {"every": 0}}  # fmt: skip
    config = write_config(
        folder / "narrow.yaml", vae=vae, ldm=ldm, dataset={"kind": "table", "path": "x.csv", "image_size": None}
    )
    main(["ldm-train-vae", "--dataset_csv", table, "--output_dir", str(folder / "vae"), "--config", config, "--n_epochs",
          "1", "--batch_size", "4"])  # fmt: skip
    return folder, table, config


SHAPES = ("--latent_shape", "3x36x28", "--vae_space_shape", "3x34x28")


def test_the_shapes_of_the_readme_fit_the_brain_images(brain, tmp_path):
    folder, table, config = brain
    vae = str(folder / "vae" / "models" / "autoencoder.pth")
    common = ["--dataset_csv", table, "--aekl_ckpt", vae, "--config", config, "--conditioning", "none", *SHAPES]
    main(["ldm-train-diff", *common, "--output_dir", str(tmp_path / "ldm"), "--duplication", "none", "--n_epochs", "1",
          "--batch_size", "4"])  # fmt: skip
    unet = str(tmp_path / "ldm" / "models" / "unet.pth")
    for path in (vae, unet, vae.replace(".pth", ".safetensors"), unet.replace(".pth", ".safetensors")):
        assert recorded_orientation(path) is Orientation.TRANSPOSED
    main(
        [
            "ldm-generate",
            *common,
            "--diff_ckpt",
            unet,
            "--output_path",
            str(tmp_path / "tree"),
            "--n_gen_per_record",
            "1",
        ]
    )
    for number in range(4):
        training, copy = (
            np.asarray(Image.open(tmp_path / "tree" / f"r{number}" / f"{name}.png")) for name in ("training", "gen-0")
        )
        assert copy.shape == training.shape == (136, 112)
        np.testing.assert_array_equal(training, np.asarray(Image.open(folder / "data" / f"{number}.png")).T)


def fails(command, message, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 1
    assert message in errors[0]


def test_shapes_of_the_other_orientation_are_explained(brain, tmp_path, capsys):
    folder, table, config = brain
    recorded = folder / "vae" / "models" / "autoencoder.pth"
    plain = tmp_path / "plain.pth"
    torch.save(dict(torch.load(recorded, weights_only=True)), plain)
    assert recorded_orientation(plain) is None
    command = ["ldm-train-diff", "--dataset_csv", table, "--output_dir", str(tmp_path / "ldm"), "--config", config,
               "--vae_space_shape", "3x28x34", "--aekl_ckpt"]  # fmt: skip
    problem = "--vae_space_shape is 3x28x34, which upright images have, but transposed ones, as used here, 3x34x28; "
    fails([*command, str(plain)], f"{problem}give --orientation upright", capsys)
    fails(
        [*command, str(recorded)],
        f"{problem}{recorded} records that it was trained on transposed images, leave --vae_space_shape out",
        capsys,
    )
    command[command.index("3x28x34")] = "3x34x28"
    problem = "--vae_space_shape is 3x34x28, which transposed images have, but upright ones, as used here, 3x28x34; "
    fails([*command, str(plain), "--orientation", "upright"], f"{problem}give --orientation transposed", capsys)


def test_the_orientation_is_that_of_the_autoencoder(tmp_path, published, small, random, capsys):
    """A workflow's weights are upright and say so, exported too; state dicts that do not say are the reference's."""
    table = write_table(tmp_path / "data", [random.integers(0, 256, (24, 32), dtype=np.uint8) for _ in range(3)])
    save_autoencoder(tmp_path / "vae.safetensors", build_autoencoder(VAE), VAE)
    save_unet(tmp_path / "unet.safetensors", build_unet(LDM, 2), LDM, 1.0)
    for name in ("vae", "unet"):
        main(["export", str(tmp_path / f"{name}.safetensors"), str(tmp_path / f"{name}.pth")])
    for suffix in ("safetensors", "pth"):
        vae, unet = (str(tmp_path / f"{name}.{suffix}") for name in ("vae", "unet"))
        training, _ = generate(tmp_path / suffix, table, vae, unet, small)
        assert training.shape == (24, 32)
    command = ["ldm-generate", "--dataset_csv", table, "--output_path", str(tmp_path / "x"), "--config", small]
    mixed = ["--aekl_ckpt", str(tmp_path / "vae.pth"), "--diff_ckpt", published[1]]
    fails(
        [*command, *mixed],
        f"{published[1]}: was trained on latents of transposed images, but {mixed[1]} on upright",
        capsys,
    )
    generate(tmp_path / "mixed", table, mixed[1], published[1], small, "--orientation", "upright")
    train = ["ldm-train-diff", "--dataset_csv", table, "--output_dir", str(tmp_path / "y"), "--config", small]
    mixed = ["--aekl_ckpt", published[0], "--diff_ckpt", str(tmp_path / "unet.safetensors")]
    fails([*train, *mixed], "was trained on latents of upright images", capsys)
    fails([*train, *mixed], f"or give --orientation, since {published[0]} does not record one", capsys)


def test_sizes_change_places_with_the_orientation(tmp_path):
    """A config file whose size is that of upright images fits the commands; one that says its orientation is left as it is."""
    table = {"kind": "table", "path": "x.csv", "image_size": [112, 136]}
    path = write_config(tmp_path / "a.yaml", dataset=table)
    found = settings_for(path, "y.csv").dataset
    assert (found.orientation, found.image_size) == (Orientation.TRANSPOSED, (136, 112))
    chosen = settings_for(path, "y.csv", dataset={"orientation": "upright"}).dataset
    assert (chosen.orientation, chosen.image_size) == (Orientation.UPRIGHT, (112, 136))
    for orientation in Orientation:
        path = write_config(tmp_path / "b.yaml", dataset=table | {"orientation": orientation.value})
        found = settings_for(path, "y.csv").dataset
        assert (found.orientation, found.image_size) == (orientation, (112, 136))


def test_a_config_of_volumes_is_refused(tmp_path):
    path = tmp_path / "volumes.yaml"
    path.write_text((ROOT / "config" / "volumes.yaml").read_text())
    with pytest.raises(ConfigError, match="spatial_dims is 3, but the reference's commands train on images"):
        settings_for(path, "y.csv")
